"""Augmentation as pure functions of a seed: RandAugment, and random views of an image."""

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from vlm.data.images import ImageGeometry
from vlm.errors import InputError


def seed_of(*parts: int | str) -> int:
    """One 63-bit seed from numbers and names, unrelated for any two different tuples."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class RandAugment:
    """Random colour changes and small distortions (Cubuk et al. 2020, arXiv:1909.13719).

    Nothing is flipped: captions say left and right.

    Attributes:
        operations: how many in a row.
        magnitude: of each, 0 to 30.

    Raises:
        InputError: if either is out of range.
    """

    operations: int = 2
    magnitude: int = 9

    def __post_init__(self) -> None:
        if self.operations < 0 or not 0 <= self.magnitude <= 30:
            raise InputError(
                f"{self} is out of range; give operations of 0 or more and a magnitude of 0 to 30"
            )

    def __call__(self, image: Tensor, *, seed: int) -> Tensor:
        """The changed image.

        Args:
            image: ``(3, height, width)`` uint8.
            seed: the same seed gives the same change.
        """
        change = v2.RandAugment(num_ops=self.operations, magnitude=self.magnitude)
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: that would seed every accelerator too, for good.
            torch.default_generator.manual_seed(seed)
            return change(image)


class View(NamedTuple):
    """What one view shows of an image.

    Attributes:
        pixels: ``(3, height, width)`` uint8.
        crop: the part of the original image, x0 y0 x1 y1 in [0, 1].
    """

    pixels: Tensor
    crop: tuple[float, float, float, float]


@dataclass(frozen=True)
class RandomView:
    """A random part of an image, its sides scaled apart, then RandAugment.

    The crop of Szegedy et al. 2015 (arXiv:1409.4842) with a larger least area, since a caption
    should stay true of what is left. The crop is known, so regions keep their place in the
    original image.

    Attributes:
        area: least share of the image that is kept, in (0, 1].
        change: of the pixels, after cropping.

    Raises:
        InputError: if the area is out of range.
    """

    area: float = 0.6
    change: RandAugment = RandAugment()

    def __post_init__(self) -> None:
        if not 0 < self.area <= 1:
            raise InputError(f"{self} is out of range; give an area in (0, 1]")

    def load(self, path: str | Path, geometry: ImageGeometry, *, seed: int) -> View:
        """The view of an image file.

        The image is resized as a whole, so that the part to be kept has the geometry's size
        and no pixel is interpolated twice.

        Args:
            path: of the file.
            geometry: that the view is brought to.
            seed: the same seed gives the same view.

        Raises:
            InputError: if the file cannot be used.
        """
        draw = random.Random(seed)
        share = draw.uniform(self.area, 1)
        # Both sides between the share and the whole, so that their product is the share.
        across = draw.uniform(share, 1)
        down = share / across
        height, width = round(geometry.height / down), round(geometry.width / across)
        top = draw.randint(0, height - geometry.height)
        left = draw.randint(0, width - geometry.width)
        whole = ImageGeometry(height, width, geometry.interpolation).load(path)
        part = whole[:, top : top + geometry.height, left : left + geometry.width].contiguous()
        sides = left, top, left + geometry.width, top + geometry.height
        crop = (sides[0] / width, sides[1] / height, sides[2] / width, sides[3] / height)
        return View(self.change(part, seed=seed), crop)


def clean_view(path: str | Path, geometry: ImageGeometry) -> View:
    """The whole image, as evaluation sees it: view 0.

    Raises:
        InputError: if the file cannot be used.
    """
    return View(geometry.load(path), (0.0, 0.0, 1.0, 1.0))
