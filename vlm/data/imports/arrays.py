"""Published folders of features: one numpy file an image."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm.data.imports.imported import FRACTIONS, Published, image_id_of, numbers
from vlm.data.imports.pickles import read_object_array
from vlm.errors import InputError
from vlm.regions import grid_boxes

FEATURES = ("features", "feat", "x", "image_feat", "feature", "z", "arr_0")
"""Names of features. ImageCaptioning.pytorch once wrote ``z`` where it meant ``feat``."""
BOXES = ("bbox", "boxes", "bboxes", "image_bb")
PARTS = ("norm_bb",)
"""Names of boxes that are in [0, 1] already, UNITER's with width and height behind."""
HEIGHTS = ("image_h", "image_height", "img_h", "height")
WIDTHS = ("image_w", "image_width", "img_w", "width")

INFO = "_info.npy"  # MMF keeps boxes and sizes beside each file of features


def read_arrays(folder: Path, files: Sequence[Path]) -> Iterator[Published]:
    """The images of a folder by id, numbers first, a file in memory at a time.

    ``.npz`` files hold arrays by name; ``.npy`` ones the features, or a dictionary of arrays.
    Boxes may stand with the features, in ``NAME_info.npy`` beside them, or, where the folder
    is called ``…_att``, in its neighbour ``…_box``.

    Args:
        folder: that was given.
        files: of it, by name.

    Raises:
        InputError: naming the file, if it is cut off, holds no features, or none that fit.
    """
    beside = folder.with_name(folder.name.removesuffix("_att") + "_box")
    boxes = beside if folder.name.endswith("_att") and beside.is_dir() else None
    features = [file for file in files if not file.name.endswith(INFO)]
    for file in sorted(features, key=_by_id):
        content = _content(file)
        info = file.with_name(file.stem + INFO)
        if info.is_file():
            content = {**_content(info), **content}
        if boxes is not None:
            content = {**content, BOXES[0]: _neighbour(file, boxes / f"{file.stem}.npy")}
        yield _published(file, content)


def _by_id(file: Path) -> tuple[bool, Any]:
    key = image_id_of(file.stem)
    return isinstance(key, str), key


def _neighbour(file: Path, boxes: Path) -> np.ndarray:
    if not boxes.is_file():
        raise InputError(f"{file} has no boxes: {boxes} does not exist; restore it")
    return _content(boxes)[FEATURES[0]]


def _content(file: Path) -> dict[str, Any]:
    """What a file holds, by name."""
    try:
        # Opened here, for numpy leaves it open where it is damaged.
        with file.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            return {FEATURES[0]: loaded} if isinstance(loaded, np.ndarray) else _named(loaded)
    except Exception as error:  # damaged files raise nearly anything
        content = read_object_array(file) if isinstance(error, ValueError) else None
        if not isinstance(content, Mapping):
            raise InputError(
                f"{file} cannot be read; it may have been cut off, fetch it again"
            ) from error
        return {str(name): value for name, value in content.items()}


def _named(archive: Any) -> dict[str, Any]:
    """Arrays of an .npz file; those that nothing here understands stay unread, as None."""
    understood = {*FEATURES, *BOXES, *PARTS, *HEIGHTS, *WIDTHS}
    return {name: archive[name] if name in understood else None for name in archive.files}


def _published(file: Path, content: Mapping[str, Any]) -> Published:
    name = next((name for name in FEATURES if name in content), None)
    if name is None:
        raise InputError(
            f"{file} holds {', '.join(sorted(content)) or 'nothing'}, no features; "
            f"expected one of {', '.join(FEATURES)}, rename them"
        )
    where = f"{file}, image {file.stem}"
    features = numbers(where, name, content[name])
    boxes, in_parts = _boxes(where, content)
    height, width = _size(where, content, HEIGHTS), _size(where, content, WIDTHS)
    size = (height, width) if height and width else None
    if boxes is None:
        features, boxes = _without_boxes(where, features)
        in_parts = True
    elif features.shape[:1] != boxes.shape[:1] and features.shape[1:] == boxes.shape[:1]:
        features = features.T  # OpenVQA's are (width, regions)
    return Published(file, file.stem, features, boxes, FRACTIONS if in_parts else size, size)


def _boxes(where: str, content: Mapping[str, Any]) -> tuple[np.ndarray | None, bool]:
    """Boxes, and whether they are in [0, 1] already."""
    for name in (*PARTS, *BOXES):
        if content.get(name) is not None:
            boxes = numbers(where, name, content[name])
            in_parts = name in PARTS
            return (boxes[:, :4] if in_parts and boxes.ndim == 2 else boxes), in_parts
    return None, False


def _without_boxes(where: str, features: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Features as regions; those of a map with the boxes of its cells."""
    while features.ndim > 1 and features.shape[0] == 1:
        features = features[0]
    if features.ndim < 3:
        return np.atleast_2d(features), None
    widest = int(np.argmax(features.shape))
    if features.ndim > 3 or widest == 1 or features.shape.count(features.shape[widest]) > 1:
        raise InputError(
            f"{where}: expected features (regions, width), (rows, columns, width) or (width, "
            f"rows, columns), got {features.shape}; reshape them"
        )
    rows = np.moveaxis(features, widest, 2)
    boxes = grid_boxes(*rows.shape[:2]).numpy()
    return rows.reshape(len(boxes), -1), boxes


def _size(where: str, content: Mapping[str, Any], names: Sequence[str]) -> int:
    """Pixels of a side; 0 where it is not told."""
    for name in names:
        if content.get(name) is not None:
            value = numbers(where, name, content[name])
            if value.size == 1 and np.isfinite(value).all() and value.item() >= 1:
                return int(value.item())
            raise InputError(f"{where}: expected {name} in pixels, got {value}; write it again")
    return 0
