"""Views of listed images, decoded in worker processes in the order that shards need them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vlm.data.augmentation import RandomView, clean_view, seed_of
from vlm.data.images import ImageGeometry, image_size
from vlm.data.store.manifest import Manifest
from vlm.data.store.writer import Part
from vlm.errors import InputError
from vlm.formats.detections import Box, normalised
from vlm.formats.ids import Id
from vlm.formats.image_list import ListedImage


class LoadedView(NamedTuple):
    """A view of an image, ready to be looked at.

    Attributes:
        pixels: ``(3, height, width)`` uint8.
        size: (height, width) of the original in pixels.
        crop: what the view shows of the original, x0 y0 x1 y1 in [0, 1].
        boxes: ``(n, 4)`` of the view in [0, 1]; none on a plain grid.
    """

    pixels: Tensor
    size: tuple[int, int]
    crop: tuple[float, float, float, float]
    boxes: Tensor


class Seen(NamedTuple):
    """Where a view of a batch comes from.

    Attributes:
        size: (height, width) of the original in pixels.
        crop: what the view shows of the original, x0 y0 x1 y1 in [0, 1].
        boxes: how many of the batch's boxes are of this view.
    """

    size: tuple[int, int]
    crop: tuple[float, float, float, float]
    boxes: int


class Batch(NamedTuple):
    """Images that are looked at together; few tensors, for each costs a descriptor on its way.

    Attributes:
        part: of the store that they belong to.
        views: of the images, or of one that cannot be used the sentence that says why.
        pixels: ``(B, 3, height, width)`` uint8, of those that can be used.
        boxes: ``(n, 4)`` in [0, 1] of their views, one view's after the other's.
        last: whether the part ends here.
    """

    part: Part
    views: list[Seen | str]
    pixels: Tensor
    boxes: Tensor
    last: bool


class _Ask(NamedTuple):
    row: int
    part: Part
    last: bool


@dataclass(frozen=True)
class ViewLoader:
    """Loads views of images.

    Attributes:
        images: of the list.
        geometry: that views are brought to.
        augmentation: of the views but the first.
        seed: of the augmentation.
        boxes: of images in pixels of the original, by id; None on a plain grid.
    """

    images: Sequence[ListedImage]
    geometry: ImageGeometry
    augmentation: RandomView
    seed: int
    boxes: Mapping[Id, Sequence[Box]] | None

    def load(self, row: int, view: int) -> LoadedView:
        """One view of the image in a row: a pure function of (seed, image id, view).

        Raises:
            InputError: if the image cannot be used.
        """
        image_id, _, path = self.images[row]
        if view == 0:
            pixels, crop = clean_view(path, self.geometry)
        else:
            seed = seed_of(self.seed, image_id, view)
            pixels, crop = self.augmentation.load(path, self.geometry, seed=seed)
        size = image_size(path)
        found = (self.boxes or {}).get(image_id, ())
        placed = normalised(found, height=size[0], width=size[1], image_id=image_id)
        return LoadedView(pixels, size, crop, boxes_within(crop, torch.tensor(placed).view(-1, 4)))

    def batch(self, rows: Sequence[int], view: int) -> Batch:
        """One view of the images in some rows, here and now."""
        views = _Views(self)
        return together([views[_Ask(row, Part(view, 0), last=True)] for row in rows])

    def batches(self, parts: Sequence[Part], manifest: Manifest, *, workers: int) -> DataLoader:
        """Parts of a store batch by batch; no batch reaches from one part into the next."""
        return DataLoader(
            _Views(self),
            batch_sampler=_Order(parts, manifest),
            num_workers=workers,
            collate_fn=together,
            pin_memory=torch.cuda.is_available(),
        )


class _Order(Sampler[list[_Ask]]):
    """What is asked for, batch by batch, made as it is needed."""

    def __init__(self, parts: Sequence[Part], manifest: Manifest) -> None:
        self._parts = parts
        self._manifest = manifest

    def __iter__(self) -> Iterator[list[_Ask]]:
        batch = self._manifest.batch
        for part in self._parts:
            rows = self._manifest.rows(part.shard)
            for first in range(rows.start, rows.stop, batch):
                chunk = range(first, min(first + batch, rows.stop))
                yield [_Ask(row, part, chunk.stop == rows.stop) for row in chunk]

    def __len__(self) -> int:
        batch, rows = self._manifest.batch, self._manifest.rows
        return sum(-(-len(rows(part.shard)) // batch) for part in self._parts)


class _Views(Dataset):
    """Asked-for views, or the sentences that say why there are none."""

    def __init__(self, loader: ViewLoader) -> None:
        self._loader = loader

    def __getitem__(self, ask: _Ask) -> tuple[_Ask, LoadedView | str]:
        try:
            return ask, self._loader.load(ask.row, ask.part.view)
        except InputError as error:
            return ask, str(error)


def together(items: Sequence[tuple[_Ask, LoadedView | str]]) -> Batch:
    """Loaded views to one batch."""
    good = [view for _, view in items if not isinstance(view, str)]
    views = [
        view if isinstance(view, str) else Seen(view.size, view.crop, len(view.boxes))
        for _, view in items
    ]
    pixels = torch.stack([view.pixels for view in good]) if good else torch.empty(0)
    boxes = torch.cat([view.boxes for view in good]) if good else torch.empty(0, 4)
    return Batch(items[0][0].part, views, pixels, boxes, items[0][0].last)


def boxes_within(crop: tuple[float, float, float, float], boxes: Tensor) -> Tensor:
    """Boxes of an image as boxes of a part of it; those whose centre is outside are left out.

    Args:
        crop: the part, x0 y0 x1 y1 in [0, 1].
        boxes: ``(n, 4)`` in [0, 1] of the image.

    Returns:
        ``(m, 4)`` in [0, 1] of the part.
    """
    corner, extent = np.array(crop[:2]), np.array(crop[2:]) - np.array(crop[:2])
    moved = (boxes - torch.tensor(corner).repeat(2)) / torch.tensor(extent).repeat(2)
    centres = (moved[:, :2] + moved[:, 2:]) / 2
    inside = ((centres >= 0) & (centres <= 1)).all(dim=1)
    return moved[inside].clamp(0, 1).float()


def boxes_of_image(crop: tuple[float, float, float, float], boxes: Tensor) -> Tensor:
    """Boxes of a part of an image as boxes of the image, the way back."""
    corner = torch.tensor(crop[:2]).repeat(2)
    extent = torch.tensor(crop[2:]).repeat(2) - corner
    return boxes * extent + corner
