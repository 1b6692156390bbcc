"""Eyes without a download: a small timm model learns to see on portraits of the built-in world."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from timm.models import save_for_hf
from timm.models.resnet import ResNet, test_resnet
from torch import Tensor
from torch.nn import functional

from vlm.data.world import Scene, World, draw
from vlm.data.world.layout import HEIGHT, WIDTH
from vlm.data.world.scene import BACKGROUNDS, COLOURS, MATERIALS, SHAPES, SIZES

MEAN, STD = 0.5, 0.5  # of pixels in [0, 1]
OUTPUT_STRIDE = 16  # pixels a region: a grid of 8 x 10 over a scene
ATTRIBUTES = {
    "colour": COLOURS,
    "material": MATERIALS,
    "shape": SHAPES,
    "size": SIZES,
    "background": BACKGROUNDS,
}
CLASSES = [len(choices) for choices in ATTRIBUTES.values()]
BATCH, LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 32, 3e-3, 0.05, 0.2
EXAMINED = 500


class EyesReport(NamedTuple):
    """How often eyes are right about portraits that they never saw, in [0, 1].

    By attribute; and, under ``object``, about colour, material and shape at once.

    Attributes:
        seen: of objects whose combination of colour, material and shape was trained on.
        unseen: of objects whose combination was held out.
    """

    seen: dict[str, float]
    unseen: dict[str, float]


class Lessons(NamedTuple):
    """Portraits with what there is to tell of them.

    Attributes:
        pictures: ``(B, 3, side, side)`` RGB in [0, 255].
        masks: ``(B, 1, side, side)`` boolean, where the object is.
        labels: ``(B, attributes)``, the index of each attribute among its choices.
    """

    pictures: Tensor
    masks: Tensor
    labels: Tensor


def train_eyes(
    world: World,
    folder: Path,
    *,
    portraits: int = 5000,
    epochs: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> EyesReport:
    """Trains eyes to name the attributes of single objects, and saves them.

    No scene is used, and no held-out combination; where in a scene things are, and which of
    them matters, is left for others to learn.

    Args:
        world: to draw portraits from; its seed makes all choices here too.
        folder: becomes a timm model, ``local-dir:{folder}``, without its classifier.
        portraits: how many different ones to learn from.
        epochs: how often to look at each.
        progress: called after each batch with how many of how many are done.

    Returns:
        what the eyes can tell of portraits they have not seen.
    """
    lessons = _draw([world.portrait(index) for index in range(portraits)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(world.seed)
        model = test_resnet(num_classes=sum(CLASSES), output_stride=OUTPUT_STRIDE)
        model.to(memory_format=torch.channels_last)  # faster on a CPU
        _fit(model, lessons, epochs=epochs, progress=progress)
    fresh = [world.portrait(portraits + index) for index in range(EXAMINED)]
    unseen = [world.portrait(index, unseen=True) for index in range(EXAMINED)]
    report = EyesReport(seen=_examine(model, fresh), unseen=_examine(model, unseen))
    _save(model, folder)
    return report


def _draw(portraits: Sequence[Scene]) -> Lessons:
    drawn = [draw(portrait) for portrait in portraits]
    labels = [
        [choices.index(_attribute(portrait, name)) for name, choices in ATTRIBUTES.items()]
        for portrait in portraits
    ]
    return Lessons(
        pictures=torch.from_numpy(np.stack([pixels for pixels, _ in drawn])).permute(0, 3, 1, 2),
        masks=torch.from_numpy(np.stack([masks for _, masks in drawn])),
        labels=torch.tensor(labels),
    )


def _attribute(portrait: Scene, name: str) -> str:
    return portrait.background if name == "background" else getattr(portrait.objects[0], name)


def _fit(
    model: ResNet,
    lessons: Lessons,
    *,
    epochs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Plain classification: one cross-entropy an attribute, AdamW, one learning-rate cycle."""
    count = len(lessons.labels)
    steps = epochs * (count // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP
    )
    orders = (torch.randperm(count).split(BATCH) for _ in range(epochs))
    batches = (batch for order in orders for batch in order if len(batch) == BATCH)
    model.train()
    for step, batch in enumerate(batches, start=1):
        scores = _look(model, lessons.pictures[batch], lessons.masks[batch])
        answers = lessons.labels[batch].unbind(dim=1)
        losses = [functional.cross_entropy(s, a) for s, a in zip(scores, answers, strict=True)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step, steps)


def _look(model: ResNet, pictures: Tensor, masks: Tensor) -> tuple[Tensor, ...]:
    """Scores of every attribute, ``(B, choices)`` each, from the regions that show the object.

    Averaged over the object alone, not over the picture, each of its regions must tell what the
    object is: it is regions, not pictures, that a captioner gets to see.
    """
    regions = model.forward_features((pictures / 255 - MEAN) / STD)
    shares = functional.avg_pool2d(masks.float(), OUTPUT_STRIDE)
    seen = (regions * shares).sum(dim=(2, 3)) / shares.sum(dim=(2, 3))
    return model.fc(seen).split(CLASSES, dim=1)


@torch.inference_mode()
def _examine(model: ResNet, portraits: Sequence[Scene]) -> dict[str, float]:
    """How often each attribute is right, and colour, material and shape at once."""
    lessons = _draw(portraits)
    scores = _look(model.eval(), lessons.pictures, lessons.masks)
    right = torch.stack([s.argmax(dim=1) for s in scores], dim=1) == lessons.labels
    shares = dict(zip(ATTRIBUTES, right.float().mean(dim=0).tolist(), strict=True))
    return shares | {"object": right[:, :3].all(dim=1).float().mean().item()}


def _save(model: ResNet, folder: Path) -> None:
    """Timm's ``local-dir`` layout without the classifier; ``config.json`` comes last."""
    model.reset_classifier(0, "avg")
    model.to(memory_format=torch.contiguous_format)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as partial:
        save_for_hf(
            model,
            partial,
            model_config={"pretrained_cfg": {"tag": "built_in_world"}},
            safe_serialization=True,
            model_args={"output_stride": OUTPUT_STRIDE},
            data_config={"input_size": (3, HEIGHT, WIDTH), "mean": [MEAN] * 3, "std": [STD] * 3},
        )
        for name in ("model.safetensors", "config.json"):
            (Path(partial) / name).replace(folder / name)
