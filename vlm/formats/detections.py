"""Where objects are in images: boxes of COCO instances JSON and of detection results."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.ids import Id, is_id, refuse_doubles, shown

Box = tuple[float, float, float, float]
"""x0 y0 x1 y1; the file says of what."""

INSTANCES = "'images' with id, 'annotations' with image_id and bbox"
DETECTIONS = "a list of {image_id, bbox, score}"


def read_boxes(file: Path, *, limit: int | None = None) -> dict[Id, list[Box]]:
    """Boxes by image, in pixels of the original image; they may reach beyond it.

    Two kinds of JSON, also gzipped, are told apart by what they hold: COCO instances (every
    image listed is in the result, in the file's order of images, with its boxes in the file's
    order) and COCO detections (every image that has one, its boxes by descending score, equal
    ones in the file's order). Left out are crowds (``iscrowd``), which are no object, and
    boxes of zero width or height, of which COCO's own instances_train2017 has two
    (cocodataset/cocoapi issue 355).

    Args:
        file: of boxes ``[x, y, width, height]`` in pixels.
        limit: how many boxes an image keeps: its first ones in the above order.

    Raises:
        InputError: if the file is missing, cut off, of another kind or holds no box, or a
            record lacks a field, names no listed image, or has a box or a score that is none.
    """
    if limit is not None and limit < 1:
        raise InputError(f"expected a limit of 1 box or more an image, got {limit}; raise it")
    tree = read_json(file)
    boxes = _detected(file, tree) if isinstance(tree, list) else _annotated(file, tree)
    if not any(boxes.values()):
        raise InputError(f"{file} holds no box; give {INSTANCES}, or {DETECTIONS}")
    return {key: found[:limit] for key, found in boxes.items()}


def read_sizes(file: Path) -> dict[Id, tuple[int, int]]:
    """(height, width) in pixels of the images that a COCO JSON of any kind lists.

    Raises:
        InputError: if the file is missing, cut off, or lists no images with id and size.
    """
    tree = read_json(file)
    images = tree.get("images") if isinstance(tree, Mapping) else None
    if not isinstance(images, list) or not images:
        raise InputError(f"{file} lists no 'images' with id, height and width; give one that does")
    keys = [_id(f"{file}, image {number}", row, "id") for number, row in enumerate(images, 1)]
    refuse_doubles(file, "image", keys)
    sides = [(_number(row.get("height")), _number(row.get("width"))) for row in images]
    wrong = [
        key for key, pair in zip(keys, sides, strict=True) if min(side or 0 for side in pair) < 1
    ]
    if wrong:
        raise InputError(
            f"{file} tells no height and width of images {shown(wrong)}; add them in pixels"
        )
    return {
        key: (int(height or 0), int(width or 0))
        for key, (height, width) in zip(keys, sides, strict=True)
    }


def normalised(boxes: Sequence[Box], *, height: int, width: int, image_id: Id) -> list[Box]:
    """Boxes in [0, 1] of an image, cut at its borders.

    Args:
        boxes: in pixels.
        height: of the original image in pixels.
        width: of it.
        image_id: named where a box does not belong to it.

    Raises:
        InputError: if a box lies outside the image.
    """
    for x0, y0, x1, y1 in boxes:
        if x0 >= width or y0 >= height or x1 <= 0 or y1 <= 0:
            raise InputError(
                f"image {shown([image_id])} is {width} pixels wide and {height} high, its box from "
                f"({x0:g}, {y0:g}) to ({x1:g}, {y1:g}) lies outside; give boxes of this image"
            )
    return [
        (max(x0 / width, 0.0), max(y0 / height, 0.0), min(x1 / width, 1.0), min(y1 / height, 1.0))
        for x0, y0, x1, y1 in boxes
    ]


# --- Two kinds of files ----------------------------------------------------------------------


def _annotated(file: Path, tree: Any) -> dict[Id, list[Box]]:
    """Boxes of an instances file."""
    if not isinstance(tree, Mapping) or not all(
        isinstance(tree.get(part), list) for part in ("images", "annotations")
    ):
        raise InputError(f"{file} has no boxes: expected {INSTANCES}, or {DETECTIONS}; give one")
    boxes: dict[Id, list[Box]] = {}
    for number, image in enumerate(tree["images"], start=1):
        boxes[_id(f"{file}, image {number}", image, "id")] = []
    refuse_doubles(file, "image", (image["id"] for image in tree["images"]))
    for number, row in enumerate(tree["annotations"], start=1):
        where = f"{file}, annotation {number}"
        key = _id(where, row, "image_id")
        if key not in boxes:
            raise InputError(
                f"{where} is of image {shown([key])}, which the file does not list; "
                "add the image or remove the annotation"
            )
        box = _box(where, row, key)
        if box is not None and not row.get("iscrowd"):
            boxes[key].append(box)
    return boxes


def _detected(file: Path, rows: list[Any]) -> dict[Id, list[Box]]:
    """Boxes of a result file, the most confident first."""
    scored: dict[Id, list[tuple[float, Box]]] = {}
    for number, row in enumerate(rows, start=1):
        where = f"{file}, detection {number}"
        key = _id(where, row, "image_id")
        box = _box(where, row, key)
        score = _number(row.get("score"))
        if score is None:
            raise InputError(
                f"{where} of image {shown([key])}: expected a finite score, "
                f"got {_brief(row, 'score')}; write one"
            )
        found = scored.setdefault(key, [])
        if box is not None:
            found.append((score, box))
    return {
        key: [box for _, box in sorted(found, key=lambda pair: -pair[0])]
        for key, found in scored.items()
    }


# --- Records to ids and boxes ----------------------------------------------------------------


def _id(where: str, row: Any, field: str) -> Id:
    key = row.get(field) if isinstance(row, Mapping) else None
    if not is_id(key):
        raise InputError(
            f"{where}: expected {field}, a whole number or a text, "
            f"got {_brief(row, field)}; give {INSTANCES}, or {DETECTIONS}"
        )
    return key


def _box(where: str, row: Mapping[str, Any], key: Id) -> Box | None:
    """The corners; None where the box has no area."""
    given = row.get("bbox")
    numbers = [_number(value) for value in given] if isinstance(given, list) else []
    x, y, width, height = numbers if len(numbers) == 4 else [None] * 4
    if x is None or y is None or width is None or height is None or width < 0 or height < 0:
        raise InputError(
            f"{where} of image {shown([key])}: expected bbox [x, y, width, height], finite and "
            f"none negative in size, got {_brief(row, 'bbox')}; correct it"
        )
    return (x, y, x + width, y + height) if width > 0 and height > 0 else None


def _number(value: Any) -> float | None:
    """It as a float where it is a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # whole numbers beyond floats
        return None


def _brief(row: Any, field: str) -> str:
    if not isinstance(row, Mapping):
        return str(row)[:80]
    return str(row[field])[:80] if field in row else f"none beside {', '.join(map(str, row))[:80]}"
