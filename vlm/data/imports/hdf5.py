"""Published HDF5 files of features.

* An entry an image, ``42_features`` with ``42_boxes`` and perhaps ``42_size`` (M2 transformer,
  Cornia et al. 2020; DLCT, Luo et al. 2021): grids, masks and class scores are not read.
* One array for all, ``image_features`` with ``image_bb``, perhaps ``spatial_features`` and
  ``pos_boxes`` (bottom-up-attention-vqa; BAN, Kim et al. 2018). The ids stand in ``image_ids``
  or beside the file, in ``NAME_imgid2idx.pkl``.
"""

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vlm.data.imports.imported import FRACTIONS, Published, image_id_of, numbers
from vlm.data.imports.pickles import read_pickle
from vlm.errors import InputError
from vlm.files import read_json

ENTRY = "_features"
WHOLE = "image_features"


def read_hdf5(file: Path) -> Iterator[Published]:
    """The images of a file, an image in memory at a time.

    Entries come by id, numbers first; those of one array in the array's order.

    Args:
        file: in one of the two layouts.

    Raises:
        InputError: at once where h5py is not installed; naming file and image where the file
            is cut off, in another layout, or ids and arrays do not match.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError as error:
        raise InputError(f"{file} is HDF5, which needs h5py; run pip install vlm[hdf5]") from error
    return _images(file, h5py)


def _images(file: Path, h5py: Any) -> Iterator[Published]:
    try:
        with h5py.File(file, "r") as tree:
            if WHOLE in tree:
                yield from _of_one_array(file, tree)
            else:
                yield from _of_entries(file, tree)
    except InputError:
        raise
    except Exception as error:  # damaged files raise nearly anything
        raise InputError(
            f"{file} is no whole HDF5 file; it may have been cut off, fetch it again"
        ) from error


def _of_entries(file: Path, tree: Mapping[str, Any]) -> Iterator[Published]:
    names = [name.removesuffix(ENTRY) for name in tree if name.endswith(ENTRY)]
    if not names:
        raise InputError(
            f"{file} holds {_brief(tree)}; expected entries ID{ENTRY} and ID_boxes, or "
            f"{WHOLE} and image_bb, rename them"
        )
    for name in sorted(names, key=_by_id):
        boxes = tree.get(f"{name}_boxes")
        yield Published(
            file,
            name,
            _array(file, tree[f"{name}{ENTRY}"])[()],
            None if boxes is None else _array(file, boxes)[()],
            # In which the boxes are counted; DLCT's is that of the resized image.
            _frame(f"{file}, image {name}", tree.get(f"{name}_size")),
        )


def _array(file: Path, entry: Any) -> Any:
    """An entry that is an array, as it is."""
    if not hasattr(entry, "shape"):
        raise InputError(f"{file}: {entry.name} is a group, expected an array; write it again")
    return entry


def _by_id(name: str) -> tuple[bool, Any]:
    key = image_id_of(name)
    return isinstance(key, str), key


def _frame(where: str, entry: Any) -> tuple[int, int] | None:
    if entry is None:
        return None
    size = numbers(where, "size", entry[()]).reshape(-1)
    if len(size) != 2:
        raise InputError(f"{where}: expected a size (height, width), got {size}; write it again")
    return int(size[0]), int(size[1])


def _of_one_array(file: Path, tree: Mapping[str, Any]) -> Iterator[Published]:
    features = _array(file, tree[WHOLE])
    spans = tree["pos_boxes"][()] if "pos_boxes" in tree else None
    if features.ndim != (3 if spans is None else 2):
        raise InputError(
            f"{file}: expected {WHOLE} (images, regions, width), or (regions, width) with "
            f"pos_boxes, got {features.shape} with {_brief(tree)}; write it again"
        )
    # Written beside the pixels, and in parts of an image whose size is not.
    boxes = tree.get("spatial_features", tree.get("image_bb"))
    frame = FRACTIONS if "spatial_features" in tree else None
    if boxes is not None and boxes.shape[:-1] != features.shape[:-1]:
        raise InputError(
            f"{file}: expected boxes {(*features.shape[:-1], 4)}, got {boxes.shape}; write it again"
        )
    images = len(features) if spans is None else len(spans)
    for name, index in _rows(file, tree, images):
        rows = index if spans is None else _span(f"{file}, image {name}", spans[index], features)
        place = None if boxes is None else boxes[rows][:, :4]
        yield Published(file, name, features[rows], place, frame)


def _span(where: str, span: Any, features: Any) -> slice:
    start, end = int(span[0]), int(span[1])
    if not 0 <= start < end <= len(features):
        raise InputError(
            f"{where}: its regions are {start} to {end} of {len(features)}; write the file again"
        )
    return slice(start, end)


def _rows(file: Path, tree: Mapping[str, Any], images: int) -> list[tuple[str, int]]:
    """Names of the images with their place in the arrays, by place."""
    if "image_ids" in tree:
        ids = [
            key.decode() if isinstance(key, bytes) else str(key) for key in tree["image_ids"][()]
        ]
        places = dict(zip(ids, range(len(ids)), strict=True))
        wrong = len(places) != images
    else:
        places = _index(file)
        wrong = not all(0 <= place < images for place in places.values())
        wrong |= len(set(places.values())) != len(places)
    if wrong or not places:
        raise InputError(
            f"{file} has {images} images and {len(places)} ids that do not match them; "
            "fetch both again"
        )
    return sorted(places.items(), key=lambda pair: pair[1])


def _index(file: Path) -> dict[str, int]:
    """The place of each image, from a file beside the features."""
    pickled = file.with_name(f"{file.stem}_imgid2idx.pkl")
    written = pickled.with_suffix(".json")
    if not pickled.is_file() and not written.is_file():
        raise InputError(
            f"{file} does not tell its images' ids: it has no image_ids, and neither "
            f"{pickled.name} nor {written.name} is beside it; put one there"
        )
    source = written if written.is_file() else pickled
    index = read_json(source) if source is written else read_pickle(source)
    try:
        return {str(key): int(place) for key, place in index.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{source} is no index; expected the place of each image by its id"
        ) from error


def _brief(tree: Mapping[str, Any]) -> str:
    names = sorted(tree)
    return (
        ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        or "nothing"
    )
