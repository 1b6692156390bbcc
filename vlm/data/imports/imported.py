"""What an import yields, and what holds for an image in every layout."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlm.data.folders import SUFFIXES
from vlm.errors import InputError
from vlm.formats.ids import Id, shown

BEYOND = 0.1
"""How far, in parts of the image, boxes may reach beyond it: more is another image's size."""
FRACTIONS = (1, 1)
"""The frame of boxes that are in [0, 1] already."""

_COCO_NAME = re.compile(r"coco_((?:train|val|test)20\d\d_(\d{12}))", re.IGNORECASE)


class ImportedImage(NamedTuple):
    """An image with the regions that somebody else's detector saw.

    Attributes:
        image_id: the number where the publication names one, also as ``COCO_val2014_…``,
            else the name.
        file_name: of the image, where the publication tells; else empty.
        features: ``(N, D)`` float32, finite.
        boxes: ``(N, 4)`` float32 as x0 y0 x1 y1 in [0, 1] of the original image.
        height: of the original image in pixels, 0 where nothing tells.
        width: as ``height``.
    """

    image_id: Id
    file_name: str
    features: np.ndarray
    boxes: np.ndarray
    height: int
    width: int


@dataclass(frozen=True)
class Published:
    """An image as a file has it.

    Attributes:
        file: that it stands in.
        name: its id or file name, as published.
        features: ``(N, D)`` of any numbers.
        boxes: ``(N, 4)`` as x0 y0 x1 y1 in units of the frame; None where there are none.
        frame: (height, width) that boxes are counted in; None where the file does not tell.
        size: (height, width) of the original image; None where the file does not tell.
    """

    file: Path
    name: str
    features: np.ndarray
    boxes: np.ndarray | None = None
    frame: tuple[int, int] | None = None
    size: tuple[int, int] | None = None

    @property
    def where(self) -> str:
        """The image, for people."""
        return f"{self.file}, image {shown([self.name])}"


def image_id_of(name: str) -> Id:
    """The id that a published name means: its number, if it is one or COCO's name for one."""
    stem = _stem(name)
    coco = _COCO_NAME.fullmatch(stem)
    digits = coco[2] if coco else stem
    # Longer digits are hashes, not numbers.
    return int(digits) if re.fullmatch("[0-9]{1,18}", digits) else name


def check(found: Published, sizes: Mapping[Id, tuple[int, int]]) -> ImportedImage:
    """An image whose features and boxes are what they say.

    Args:
        found: in a file.
        sizes: (height, width) by id, for images whose file has none.

    Raises:
        InputError: naming file and image, if they are not.
    """
    key = image_id_of(found.name)
    features = _features(found)
    size = sizes.get(key) or found.size or (0, 0)
    if found.boxes is None:
        boxes = np.tile(np.array([0, 0, 1, 1], np.float32), (len(features), 1))
    else:
        boxes = _boxes(found, len(features), sizes.get(key))
    return ImportedImage(key, _file_name(found.name), features, boxes, *size)


def numbers(where: str, what: str, values: Any) -> np.ndarray:
    """Any array of numbers, as it is.

    Raises:
        InputError: if it is none.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise InputError(
            f"{where}: expected {what} of numbers, got {array.dtype}; write them again"
        )
    return array


def _features(found: Published) -> np.ndarray:
    features = numbers(found.where, "features", found.features)
    if features.ndim != 2 or 0 in features.shape:
        raise InputError(
            f"{found.where}: expected features (regions, width), "
            f"got {features.shape}; write them again"
        )
    with np.errstate(over="ignore"):  # what is too large is told below
        features = features.astype(np.float32)
    if not np.isfinite(features).all():
        raise InputError(f"{found.where} has features that are not finite; write them again")
    return features


def _boxes(found: Published, regions: int, size: tuple[int, int] | None) -> np.ndarray:
    """Boxes in [0, 1] of the image, cut at its borders."""
    boxes = numbers(found.where, "boxes", found.boxes).astype(np.float64)
    if boxes.shape != (regions, 4):
        raise InputError(
            f"{found.where}: expected boxes ({regions}, 4) for its {regions} regions, "
            f"got {boxes.shape}; they belong to other features, fetch both again"
        )
    if not np.isfinite(boxes).all():
        raise InputError(f"{found.where} has boxes that are not finite; fetch them again")
    # No detector's boxes all lie within the first pixel.
    frame = FRACTIONS if (np.abs(boxes) <= 1).all() else found.frame or size
    if frame is None:
        raise InputError(
            f"{found.where} has boxes in pixels and no size; "
            "give the sizes of the images, as a COCO JSON lists them"
        )
    height, width = frame
    if height < 1 or width < 1:
        raise InputError(f"{found.where} is {width} by {height} pixels; give its real size")
    parts = boxes / [width, height, width, height]
    if not ((parts >= -BEYOND) & (parts <= 1 + BEYOND)).all():
        raise InputError(
            f"{found.where} has boxes beyond its {width} by {height} pixels (width by height); "
            "give the size of the image that they were found in"
        )
    if (parts[:, 2:] < parts[:, :2]).any():
        raise InputError(f"{found.where} has boxes that end before they begin; give x0 y0 x1 y1")
    return parts.clip(0, 1).astype(np.float32)


def _stem(name: str) -> str:
    """The name without an image's suffix."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else name


def _file_name(name: str) -> str:
    """The image's file name, as far as its published name tells."""
    if _stem(name) != name:
        return name
    coco = _COCO_NAME.fullmatch(name)
    return f"COCO_{coco[1].lower()}.jpg" if coco else ""
