"""RandAugment as a pure function of (seed, epoch, index)."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2


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
    """

    operations: int = 2
    magnitude: int = 9

    def __call__(self, image: Tensor, *, seed: int) -> Tensor:
        """The changed image.

        Args:
            image: ``(3, height, width)`` uint8.
            seed: the same seed gives the same change.
        """
        change = v2.RandAugment(num_ops=self.operations, magnitude=self.magnitude)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return change(image)
