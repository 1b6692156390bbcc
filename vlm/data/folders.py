"""Image files below a folder, by their names."""

import os
from collections.abc import Iterator
from pathlib import Path

from vlm.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})


def list_images(folder: Path) -> list[Path]:
    """Every image file below a folder, by name.

    Raises:
        InputError: if the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist; check the path")
    paths = sorted(path for path in _files(folder) if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(
            f"image folder {folder} holds no image; expected {', '.join(sorted(SUFFIXES))}"
        )
    return paths


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, linked folders included, each folder once."""
    seen = {os.path.realpath(folder)}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if os.path.realpath(f"{place}/{name}") not in seen]
        seen.update(os.path.realpath(f"{place}/{name}") for name in folders)
        yield from (Path(place, name) for name in names)
