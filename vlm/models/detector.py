"""Detector: boxes of any torchvision detection model, frozen."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import detection, get_model, list_models
from torchvision.ops import nms

from vlm.errors import InputError

SAME_PLACE = 0.7
"""Intersection over union from which two boxes of different classes are one region."""
CANDIDATES = 4
"""Boxes that are asked of the model for each one kept, so that some can be the same place."""


class Detections(NamedTuple):
    """What a detector saw in an image, by descending score.

    Attributes:
        boxes: ``(n, 4)`` as x0 y0 x1 y1; in [0, 1] of the image where a detector gives them.
        scores: ``(n,)`` in [0, 1].
    """

    boxes: Tensor
    scores: Tensor


class Detector(nn.Module):
    """Where a torchvision detector sees something, whatever it is.

    Its classes are not told: a place that two of them claim is one region. It never trains:
    ``.train()`` does not reach it and no gradient is kept.

    Args:
        name: of a detection model of torchvision (``fasterrcnn_resnet50_fpn_v2``).
        weights: ``DEFAULT`` for those that torchvision offers, a file of its state dict
            (torch or safetensors), or None for random ones.
        boxes: how many an image has at most.
        score_threshold: below which a box is no box.

    Raises:
        InputError: if torchvision knows no such detector, or its weights cannot be fetched,
            read or do not fit.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = "DEFAULT",
        *,
        boxes: int = 36,
        score_threshold: float = 0.05,
    ) -> None:
        super().__init__()
        self.name = name
        self.boxes = boxes
        self.score_threshold = score_threshold
        self._model: Any = _create(name, weights).eval().requires_grad_(requires_grad=False)
        # Two-stage models keep these two where their second stage is, the others at the top.
        heads = getattr(self._model, "roi_heads", self._model)
        heads.score_thresh = score_threshold
        heads.detections_per_img = max(heads.detections_per_img, CANDIDATES * boxes)

    @torch.no_grad()
    def forward(self, images: Sequence[Tensor]) -> list[Detections]:
        """Finds boxes.

        Args:
            images: each ``(3, height, width)`` RGB of any size, uint8 or in [0, 1].

        Returns:
            for each image its best boxes, at most ``boxes``, none where nothing is seen.
        """
        found = self._model([_unit_range(image) for image in images])
        best = [best_boxes(part["boxes"], part["scores"], self.boxes) for part in found]
        return [
            Detections((part.boxes / _corner(image)).clamp(0, 1), part.scores)
            for part, image in zip(best, images, strict=True)
        ]

    def train(self, mode: bool = True) -> "Detector":  # noqa: FBT001, FBT002  torch's signature
        """Stays as it is: a detector that trains gives losses in place of boxes."""
        del mode
        return super().train(mode=False)


def best_boxes(boxes: Tensor, scores: Tensor, most: int) -> Detections:
    """The most confident boxes, one a place.

    Args:
        boxes: ``(n, 4)`` as x0 y0 x1 y1.
        scores: ``(n,)`` of them.
        most: how many are kept.

    Returns:
        at most ``most`` of them by descending score, equal ones in the order given.
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    boxes, scores = boxes[order], scores[order]
    kept = nms(boxes, scores, SAME_PLACE).sort().values[:most]
    return Detections(boxes[kept], scores[kept])


def _unit_range(image: Tensor) -> Tensor:
    return image if image.is_floating_point() else image.float() / 255


def _corner(image: Tensor) -> Tensor:
    """The lower right corner of an image, twice, in pixels."""
    height, width = image.shape[-2:]
    return torch.tensor([width, height, width, height], dtype=torch.float32, device=image.device)


def _create(name: str, weights: str | None) -> nn.Module:
    """A detection model with its weights."""
    known = list_models(module=detection)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"it knows {', '.join(known)}"
        raise InputError(f"torchvision knows no detector {name!r}; {hint}")
    if weights == "DEFAULT":
        return _fetched(name)
    model = get_model(name, weights=None, weights_backbone=None)
    if weights is not None:
        _fill(model, name, weights)
    return model


def _fetched(name: str) -> nn.Module:
    try:
        return get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError, EOFError) as error:  # no network, no room, other bytes
        raise InputError(
            f"weights of detector {name!r} could not be fetched or read; connect to the internet "
            "once so that they are cached, or give a file of its state dict as weights"
        ) from error


def _fill(model: nn.Module, name: str, weights: str) -> None:
    """Loads a file of weights, all of them."""
    file = Path(weights)
    if not file.is_file():
        raise InputError(f"weights {weights} of detector {name!r} do not exist; check the path")
    try:
        state = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # unpickling damaged files raises nearly anything
        raise InputError(
            f"weights {weights} of detector {name!r} cannot be read; give a state dict saved by "
            "torch.save or as safetensors"
        ) from error
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(
            f"weights {weights} do not fit detector {name!r}; give its own state dict"
        ) from error
