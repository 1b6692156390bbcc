"""FeatureCache: region features of a set of images, computed once and kept."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from vlm.errors import InputError
from vlm.regions import RegionFeatures

FORMAT = 1


def fingerprint(backbone: str, geometry: str, paths: Sequence[Path]) -> str:
    """What a cache depends on, as 16 hexadecimal digits.

    Args:
        backbone: weight hash of the backbone.
        geometry: of the images, as text.
        paths: of the images, in order; a file's size and time of change count too.
    """
    digest = hashlib.sha256(f"{FORMAT} {backbone} {geometry}".encode())
    for path in paths:
        digest.update(f"{path.resolve()} {_version(path)}\n".encode())
    return digest.hexdigest()[:16]


class FeatureCache:
    """One clean view of every image, as 16-bit floats in one memory-mapped array.

    Args:
        folder: written by :meth:`write`.

    Raises:
        InputError: if the folder is not a cache or not a whole one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            images = json.loads((folder / "index.json").read_text())["images"]
            self._features = np.load(folder / "features.npy", mmap_mode="r")
            self.boxes = torch.from_numpy(np.load(folder / "boxes.npy"))
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"feature cache {folder} cannot be read ({error}); remove it and it is made again"
            ) from error
        if len(self._features) != images:
            raise InputError(f"feature cache {folder} is not whole; remove it and it is made again")

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> Tensor:
        """Features of one image, ``(N, D)`` float16."""
        return torch.from_numpy(self._features[index].copy())

    def __reduce__(self) -> tuple[type["FeatureCache"], tuple[Path]]:
        """Another process maps the same files; pickling the map would copy all features."""
        return FeatureCache, (self._folder,)

    def batch(self, features: Sequence[Tensor]) -> RegionFeatures:
        """Features of several images as float32 with the boxes and mask of their grid."""
        stacked = torch.stack(list(features)).float()
        boxes = self.boxes.expand(len(stacked), -1, -1)
        return RegionFeatures(stacked, boxes, torch.ones(stacked.shape[:2], dtype=torch.bool))

    @staticmethod
    def write(folder: Path, batches: Iterable[RegionFeatures], *, images: int) -> "FeatureCache":
        """Writes a cache beside ``folder`` and moves it there when it is whole.

        Processes may write the same cache at once: each has a folder of its own until the
        first one is done, whose cache all of them return.

        Args:
            folder: of the cache; its parents are made.
            batches: features in order, on any device; the grid must not change.
            images: how many there are in all.

        Raises:
            InputError: if the folder cannot be written, or a feature is not finite as 16-bit float.
        """
        partial = folder.with_name(f"{folder.name}.{uuid4().hex}.partial")
        try:
            partial.mkdir(parents=True)
            _write_whole(partial, batches, images)
            _move(partial, folder)
        except OSError as error:
            raise InputError(
                f"feature cache {folder} cannot be written ({error.strerror or error}); "
                "make room or name another folder as data.cache"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)  # where it was not moved
        return FeatureCache(folder)


def _version(path: Path) -> str:
    """What changes with a file; an absent one is told by whoever looks at it."""
    try:
        status = path.stat()
    except OSError:
        return "absent"
    return f"{status.st_size} {status.st_mtime_ns}"


def _write_whole(folder: Path, batches: Iterable[RegionFeatures], images: int) -> None:
    done, shape = 0, None
    with (folder / "features.npy").open("wb") as file:
        for regions in batches:
            half = regions.features.half().cpu().numpy()
            if not np.isfinite(half).all():
                raise InputError(
                    "the backbone's features are not finite as 16-bit floats, which a cache keeps; "
                    "remove data.cache to look with the backbone at every step"
                )
            if shape is None:
                shape = half.shape[1:]
                _write_header(file, (images, *shape))
                np.save(folder / "boxes.npy", regions.boxes[0].cpu().numpy())
            if half.shape[1:] != shape:
                raise ValueError(f"expected features {shape} of every image, got {half.shape[1:]}")
            # Plain writes: a full disk is an error here, but kills whoever writes a memory map.
            file.write(half.tobytes())
            done += len(half)
    if done != images:
        raise ValueError(f"expected features of {images} images, got {done}")
    (folder / "index.json").write_text(json.dumps({"images": images}))


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(np.float16))
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _move(partial: Path, folder: Path) -> None:
    """Puts a whole cache in its place, unless another process was first."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
