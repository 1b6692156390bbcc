"""Eyes without a download: a small timm model learns to see on portraits of the built-in world."""

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import timm
import timm.data
import torch
from timm.models import save_for_hf
from torch import Tensor, nn
from torch.nn import functional

from vlm.data.world import Scene, World, draw
from vlm.data.world.layout import HEIGHT, WIDTH
from vlm.data.world.scene import BACKGROUNDS, COLOURS, MATERIALS, SHAPES, SIZES

ARCHITECTURE = "test_resnet"
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
    """How often each attribute of a portrait is right, in [0, 1], on portraits never trained on.

    Attributes:
        seen: of objects whose combination of colour, material and shape was trained on.
        unseen: of objects whose combination was held out.
    """

    seen: dict[str, float]
    unseen: dict[str, float]


def train_eyes(
    world: World,
    folder: Path,
    *,
    portraits: int = 5000,
    epochs: int = 6,
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
    pictures, labels = _draw([world.portrait(index) for index in range(portraits)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(world.seed)
        model = timm.create_model(
            ARCHITECTURE, num_classes=sum(CLASSES), output_stride=OUTPUT_STRIDE
        ).to(memory_format=torch.channels_last)  # twice as fast on a CPU
        _fit(model, pictures, labels, epochs=epochs, progress=progress)
    fresh = [world.portrait(portraits + index) for index in range(EXAMINED)]
    unseen = [world.portrait(index, unseen=True) for index in range(EXAMINED)]
    report = EyesReport(seen=_examine(model, fresh), unseen=_examine(model, unseen))
    _save(model, folder)
    return report


def _draw(portraits: Sequence[Scene]) -> tuple[Tensor, Tensor]:
    """Portraits as pixels ``(B, 3, side, side)`` in [0, 255] and labels ``(B, attributes)``."""
    pixels = torch.from_numpy(np.stack([draw(portrait)[0] for portrait in portraits]))
    labels = [
        [choices.index(_attribute(portrait, name)) for name, choices in ATTRIBUTES.items()]
        for portrait in portraits
    ]
    return pixels.permute(0, 3, 1, 2), torch.tensor(labels)


def _attribute(portrait: Scene, name: str) -> str:
    return portrait.background if name == "background" else getattr(portrait.objects[0], name)


def _fit(
    model: nn.Module,
    pictures: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Plain classification: one cross-entropy an attribute, AdamW, one learning-rate cycle."""
    steps = epochs * (len(pictures) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARM_UP
    )
    orders = (torch.randperm(len(pictures)).split(BATCH) for _ in range(epochs))
    batches = (batch for order in orders for batch in order if len(batch) == BATCH)
    model.train()
    for step, batch in enumerate(batches, start=1):
        scores = model(_normalised(model, pictures[batch])).split(CLASSES, dim=1)
        answers = labels[batch].unbind(dim=1)
        losses = [functional.cross_entropy(s, a) for s, a in zip(scores, answers, strict=True)]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step, steps)


def _normalised(model: nn.Module, pictures: Tensor) -> Tensor:
    """Pixels as the model takes them."""
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (pictures / 255 - mean) / std


@torch.inference_mode()
def _examine(model: nn.Module, portraits: Sequence[Scene]) -> dict[str, float]:
    """The share of portraits of which each attribute is right; under ``object``, of which all
    of colour, material and shape are."""
    pictures, labels = _draw(portraits)
    scores = model.eval()(_normalised(model, pictures)).split(CLASSES, dim=1)
    right = torch.stack([s.argmax(dim=1) for s in scores], dim=1) == labels
    shares = dict(zip(ATTRIBUTES, right.float().mean(dim=0).tolist(), strict=True))
    return shares | {"object": right[:, :3].all(dim=1).float().mean().item()}


def _save(model: nn.Module, folder: Path) -> None:
    """Timm's ``local-dir`` layout without the classifier; ``config.json`` comes last."""
    model.reset_classifier(0)
    model.to(memory_format=torch.contiguous_format)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder) as partial:
        save_for_hf(
            model,
            partial,
            model_config={"pretrained_cfg": {"tag": "built_in_world"}},
            safe_serialization=True,
            data_config={"input_size": (3, HEIGHT, WIDTH)},
        )
        for name in ("model.safetensors", "config.json"):
            (Path(partial) / name).replace(folder / name)
