"""FeatureCache: region features of a set of images, computed once and kept."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

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
        paths: of the images; a file's size and time of change count too.
    """
    digest = hashlib.sha256(f"{FORMAT} {backbone} {geometry}".encode())
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


class FeatureCache:
    """One clean view of every image, as 16-bit floats in one memory-mapped array.

    Args:
        folder: written by :meth:`write`.

    Raises:
        InputError: if the folder is not a cache or not a whole one.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._index = json.loads((folder / "index.json").read_text())
            self._features = np.load(folder / "features.npy", mmap_mode="r")
            self.boxes = torch.from_numpy(np.load(folder / "boxes.npy"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"feature cache {folder} cannot be read ({error}); remove it and it is made again"
            ) from error
        if len(self._features) != self._index["images"]:
            raise InputError(f"feature cache {folder} is not whole; remove it and it is made again")

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, index: int) -> Tensor:
        """Features of one image, ``(N, D)`` float16."""
        return torch.from_numpy(self._features[index].copy())

    def batch(self, features: Sequence[Tensor]) -> RegionFeatures:
        """Features of several images as float32 with the boxes and mask of their grid."""
        stacked = torch.stack(list(features)).float()
        boxes = self.boxes.expand(len(stacked), -1, -1)
        return RegionFeatures(stacked, boxes, torch.ones(stacked.shape[:2], dtype=torch.bool))

    @staticmethod
    def write(folder: Path, batches: Iterator[RegionFeatures], *, images: int) -> "FeatureCache":
        """Writes a cache beside ``folder`` and moves it there when it is whole.

        Args:
            folder: of the cache; its parents are made.
            batches: features in order, on any device; the grid must not change.
            images: how many there are in all.
        """
        partial = folder.with_name(folder.name + ".partial")
        partial.mkdir(parents=True, exist_ok=True)
        array, done = None, 0
        for regions in batches:
            if array is None:
                shape = (images, *regions.features.shape[1:])
                array = np.lib.format.open_memmap(
                    partial / "features.npy", mode="w+", dtype=np.float16, shape=shape
                )
                np.save(partial / "boxes.npy", regions.boxes[0].cpu().numpy())
            count = len(regions.features)
            array[done : done + count] = regions.features.half().cpu().numpy()
            done += count
        if array is None or done != images:
            raise ValueError(f"expected features of {images} images, got {done}")
        array.flush()
        (partial / "index.json").write_text(json.dumps({"format": FORMAT, "images": images}))
        partial.rename(folder)
        return FeatureCache(folder)
