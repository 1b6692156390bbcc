"""FeatureStore: region features of images, memory-mapped, with what they were made with."""

import operator
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlm.data.store.manifest import read_manifest, shard_file
from vlm.data.store.names import NameTable, mapped
from vlm.data.store.shard import REMEDY, Shard, checksum, matches_checksum
from vlm.data.store.writer import index_is_whole
from vlm.errors import InputError
from vlm.formats.ids import Id
from vlm.regions import RegionFeatures, grid_boxes

__all__ = ["NEW_INDEX", "FeatureStore"]

NEW_INDEX = "run the same vlm extract again, which makes it anew"


class FeatureStore:
    """Region features by image id, as ``vlm extract`` wrote them.

    Reading takes no lock and keeps no file open but memory maps, so a store works in workers
    however they are started. Opening reads the manifest alone, whatever the number of images.
    An image's bytes are held against their checksum when a process first reads them.

    Args:
        path: of the store, kept as an absolute one.
        views: how many of its views training draws from; view 0 is the clean one, which
            everything else reads.

    Attributes:
        manifest: what the features were made with.

    Raises:
        InputError: if the folder is missing, no store, not finished, of a newer format, or has
            fewer views.
    """

    def __init__(self, path: str | Path, *, views: int = 1) -> None:
        self.path = str(Path(path).resolve())
        self.views = views
        folder = self._folder = Path(self.path)
        self.manifest, found = read_manifest(folder)
        if views < 1:
            raise InputError(f"expected at least 1 view of store {path}, got {views}; raise it")
        if views > self.manifest.views:
            raise InputError(
                f"store {path} has {self.manifest.views} views, asked for {views}; extract it "
                f"with --views {views} or ask for fewer"
            )
        index = folder / "index"
        try:
            self._ids, self._files = NameTable(index, "ids"), NameTable(index, "files")
            self._sizes = mapped(index / "sizes.npy")
            self._views = [_View(index, view) for view in range(self.manifest.views)]
        except (OSError, EOFError, ValueError) as error:
            raise InputError(f"the index of store {path} is damaged; {NEW_INDEX}") from error
        self._skipped = {entry["image_id"]: entry["reason"] for entry in found["skipped"]}
        self._grid = grid_boxes(*(self.manifest.grid or (1, 1)))
        self._shards: dict[tuple[int, int], Shard] = {}

    def __len__(self) -> int:
        return len(self._ids) - len(self._skipped)

    def __iter__(self) -> Iterator[Id]:
        return (key for key in self._ids if key not in self._skipped)

    def __contains__(self, image_id: Id) -> bool:
        return self._ids.find(image_id) is not None and image_id not in self._skipped

    def __getitem__(self, image_id: Id) -> RegionFeatures:
        """The clean view of one image, a batch of one, 16-bit floats.

        Raises:
            InputError: if the store has no such image.
        """
        return self.batch([self.row(image_id)])

    def __reduce__(self) -> tuple:
        """Another process maps the same files; pickling the maps would copy all features."""
        return _reopened, (self.path, self.views)

    def size(self, image_id: Id) -> tuple[int, int]:
        """(height, width) of the original image in pixels.

        Raises:
            InputError: if the store has no such image, or its import did not tell.
        """
        height, width = self._sizes[self.row(image_id)]
        if not height:
            raise InputError(
                f"store {self.path} does not know the size of image {image_id!r}; import it with "
                "--sizes COCO.json"
            )
        return int(height), int(width)

    def crop(self, row: int, view: int) -> tuple[float, float, float, float]:
        """What a view shows of the original image, x0 y0 x1 y1 in [0, 1]."""
        x0, y0, x1, y1 = self._views[view].crops[row].tolist()
        return x0, y0, x1, y1

    def row(self, image_id: Id, file: str | None = None) -> int:
        """Where an image stands, by its id or else by the name of its file.

        Args:
            image_id: of the image.
            file: its name relative to the folder of images; the store may have been made from
                that folder, which knows no ids, and must not hold another file under the id.

        Raises:
            InputError: if the store has no such image, or another file under its id.
        """
        image_id = image_id if isinstance(image_id, str) else operator.index(image_id)
        row = self._ids.find(image_id)
        if row is None and file is not None:
            row = self._files.find(file)
        if row is None and file is not None:  # imports know an image by its name alone
            row = self._ids.find(Path(file).stem)
        if row is None:
            raise InputError(
                f"store {self.path} has no image {image_id!r}; extract one that has, "
                "or leave the store out (data.store: null)"
            )
        if self._ids[row] in self._skipped:
            why = self._skipped[self._ids[row]]
            raise InputError(f"store {self.path} has no features of image {image_id!r}: {why}")
        known = str(self._files[row])  # empty where an import did not tell
        if file is not None and known and not _same_file(known, file):
            raise InputError(
                f"store {self.path} knows image {image_id!r} as {known}, not {file}; it was made "
                "from other images"
            )
        return row

    def require(self, backbone: str, backbone_hash: str, geometry: str) -> None:
        """Holds that a backbone would see what the store holds.

        Raises:
            InputError: naming both, if it would not.
        """
        found, wanted = self.manifest, (backbone_hash, geometry)
        if (found.backbone_hash, found.geometry) != wanted:
            raise InputError(
                f"store {self.path} holds features of backbone {found.backbone!r} "
                f"({found.backbone_hash}, {found.geometry}), the model looks with {backbone!r} "
                f"({backbone_hash}, {geometry}); extract a store with that one"
            )

    def batch(self, rows: Sequence[int], views: Sequence[int] | None = None) -> RegionFeatures:
        """Several images as 16-bit floats, padded to the one with most regions.

        Args:
            rows: where they stand, see :meth:`row`.
            views: of each; the clean one when not given.

        Raises:
            InputError: if a shard is missing, cut off, or its bytes have changed.
        """
        views = [0] * len(rows) if views is None else views
        images = [self._image(row, view) for row, view in zip(rows, views, strict=True)]
        counts = [len(sections[0]) for sections in images]
        longest = max(counts)
        # numpy asks for huge pages, torch does not: half the time of a batch is page faults.
        features = np.empty((len(rows), longest, self.manifest.width), np.float16)
        for target, sections in zip(features, images, strict=True):
            self._decode(sections, target)
        if self.manifest.grid is not None:  # then all images have the same number of regions
            mask = torch.ones(len(rows), longest, dtype=torch.bool)
            return RegionFeatures(torch.from_numpy(features), self._grid_boxes(rows, views), mask)
        boxes, kinds = (
            _padded([sections[place] for sections in images], longest) for place in (-2, -1)
        )
        mask = torch.arange(longest) < torch.tensor(counts)[:, None]
        return RegionFeatures(torch.from_numpy(features), boxes, mask, kinds)

    def index_is_whole(self) -> bool:
        """Whether all bytes of the index are those that were written."""
        return index_is_whole(self._folder)

    def is_whole(self, view: int, shard: int) -> bool:
        """Whether all bytes of a shard are those that were written; reads the whole file."""
        return matches_checksum(shard_file(self._folder, view, shard))

    def _image(self, row: int, view: int) -> list[NDArray]:
        """The sections of one view of an image."""
        index, number = self._views[view], row // self.manifest.shard
        shard = self._shards.get((view, number)) or self._open(view, number)
        sections = shard.image(index.regions[row], index.regions[row + 1])
        if not index.checked[row]:
            index.check(row, sections, shard.file)
        return sections

    def _open(self, view: int, number: int) -> Shard:
        """Maps a shard, once."""
        rows, regions = self.manifest.rows(number), self._views[view].regions
        extent = range(int(regions[rows.start]), int(regions[rows.stop]))
        file = shard_file(self._folder, view, number)
        shard = self._shards[view, number] = Shard(file, self.manifest.layout, extent)
        return shard

    def _decode(self, sections: list[NDArray], target: NDArray[np.float16]) -> None:
        """The features of an image into ``(N, D)`` 16-bit floats, zeros behind them."""
        count = len(sections[0])
        if count < len(target):
            target[count:] = 0
            target = target[:count]
        if self.manifest.dtype == "int8":
            codes, scales = (torch.from_numpy(section.copy()) for section in sections[:2])
            torch.from_numpy(target).copy_(codes).mul_(scales[:, None])
        else:
            np.copyto(target, sections[0])

    def _grid_boxes(self, rows: Sequence[int], views: Sequence[int]) -> Tensor:
        """``(B, N, 4)``: the cells of each view's grid, wherever in the image its crop lies."""
        if not any(views):
            return self._grid.expand(len(rows), -1, -1)
        crops = torch.from_numpy(
            np.stack([self._views[view].crops[row] for row, view in zip(rows, views, strict=True)])
        )[:, None]
        corner, extent = crops[..., :2], crops[..., 2:] - crops[..., :2]
        return corner.repeat(1, 1, 2) + self._grid * extent.repeat(1, 1, 2)


class _View:
    """The index of one view, memory-mapped, and which of its images were checked already."""

    def __init__(self, index: Path, view: int) -> None:
        self.regions: NDArray[np.int64] = mapped(index / f"regions-{view}.npy")
        self.crops: NDArray[np.float32] = mapped(index / f"crops-{view}.npy")
        self._checksums: NDArray[np.uint32] = mapped(index / f"checksums-{view}.npy")
        self.checked = np.zeros(len(self._checksums), bool)

    def check(self, row: int, sections: list[NDArray], file: Path) -> None:
        """Holds an image's bytes against their checksum."""
        if checksum(sections) != self._checksums[row]:
            raise InputError(f"shard {file} has changed since it was written; {REMEDY}")
        self.checked[row] = True


def _same_file(one: str, other: str) -> bool:
    """Whether two relative names may be of one file: the shorter one ends the longer one."""
    short, long = sorted((Path(one).parts, Path(other).parts), key=len)
    return long[-len(short) :] == short


def _padded(arrays: Sequence[NDArray], length: int) -> Tensor:
    """Arrays of different lengths as one, zeros behind them."""
    result = np.zeros((len(arrays), length, *arrays[0].shape[1:]), arrays[0].dtype)
    for target, array in zip(result, arrays, strict=True):
        target[: len(array)] = array
    return torch.from_numpy(result)


def _reopened(path: str, views: int) -> FeatureStore:
    return FeatureStore(path, views=views)
