"""Samples to batches: images from their files, or their regions from a store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vlm.data.augmentation import RandAugment, seed_of
from vlm.data.images import ImageGeometry
from vlm.data.order import Draw
from vlm.data.store import FeatureStore
from vlm.formats.ids import Id
from vlm.regions import RegionFeatures


class Sample(Protocol):
    """An image of a split with whatever text there is about it."""

    @property
    def image_id(self) -> Id:
        """Of the image, unique in its set."""
        ...

    @property
    def path(self) -> Path:
        """Of its file."""
        ...


class Batch(NamedTuple):
    """Images with the text about them.

    Attributes:
        samples: ``B`` of them, of one kind: with captions, with questions, or with both.
        images: ``(B, 3, height, width)`` uint8, or the region features of the images.
    """

    samples: list[Any]
    images: Tensor | RegionFeatures

    @property
    def image_ids(self) -> list[Id]:
        """Of the samples."""
        return [sample.image_id for sample in self.samples]


class ImageFiles(Dataset):
    """Samples with their images, for a backbone in the loop.

    Args:
        samples: of a split.
        geometry: that files are loaded with.
        augmentation: of the pixels.
        seed: of the augmentation.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        geometry: ImageGeometry,
        *,
        augmentation: RandAugment | None = None,
        seed: int = 0,
    ) -> None:
        self._samples = samples
        self._geometry = geometry
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: Draw) -> tuple[Sample, Tensor]:
        sample = self._samples[draw.sample]
        image = self._geometry.load(sample.path)
        if self._augmentation is not None:
            seed = seed_of(self._seed, draw.epoch, draw.sample)
            image = self._augmentation(image, seed=seed)
        return sample, image

    def collate(self, items: Sequence[tuple[Sample, Tensor]]) -> Batch:
        """Items to one batch."""
        return Batch([sample for sample, _ in items], torch.stack([image for _, image in items]))


class StoredViews(Dataset):
    """Samples whose regions lie in a store; which view is a pure function of (seed, epoch, sample).

    Args:
        samples: of a split.
        store: of region features.
        rows: where the samples' images stand in it.
        views: that are drawn from.
        seed: of the draw.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        store: FeatureStore,
        rows: Sequence[int],
        *,
        views: int,
        seed: int,
    ) -> None:
        self._samples = samples
        self._store = store
        self._rows = rows
        self._views = views
        self._seed = seed

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    def collate(self, draws: Sequence[Draw]) -> Batch:
        """A batch read at once, so that each region is copied a single time."""
        views = [seed_of(self._seed, *draw) % self._views for draw in draws]
        regions = self._store.batch([self._rows[draw.sample] for draw in draws], views)
        return Batch([self._samples[draw.sample] for draw in draws], regions)
