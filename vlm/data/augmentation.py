"""RandAugment as a pure function of (seed, epoch, index)."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2

from vlm.errors import InputError


def seed_of(*parts: int) -> int:
    """One 63-bit seed from several numbers, unrelated for any two different tuples."""
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
