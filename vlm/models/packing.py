"""Packing: an image's sequences one after another in one row, their padding left out."""

from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Where the positions of ``(B, C, L)`` sequences lie in rows ``(B, P)``.

    ``P`` is the most real positions that an image has, ``C * L`` at most; rows of images
    with fewer go on with padding.

    Attributes:
        shape: ``(B, C, L)``.
        source: ``(B, P)``, which of its image's ``C * L`` positions a place holds.
        places: ``(B, C * L)``, the place of each position; 0 for those left out.
        real: ``(B, C * L)``, True for the positions that were kept.
    """

    shape: torch.Size
    source: Tensor
    places: Tensor
    real: Tensor

    @classmethod
    def of(cls, real: Tensor) -> "Packing":
        """From a mask ``(B, C, L)``, True for the positions to keep."""
        kept = real.flatten(1)
        longest = int(kept.sum(dim=1).max())
        source = kept.int().argsort(dim=1, descending=True, stable=True)[:, :longest]
        places = (kept.cumsum(dim=1) - 1).masked_fill(~kept, 0)
        return cls(real.shape, source, places, kept)

    @property
    def positions(self) -> Tensor:
        """``(B, P)``, how many positions of its sequence come before each place."""
        return self.source % self.shape[-1]

    def causal_mask(self) -> Tensor:
        """``(B, 1, P, P)``, True where a place may look: at its own sequence, up to itself."""
        earlier = self.source.unsqueeze(2) >= self.source.unsqueeze(1)
        return (self._same_sequence() & earlier).unsqueeze(1)

    def sequence_mask(self) -> Tensor:
        """``(B, 1, P, P)``, True where a place may look: at all real places of its sequence.

        Places that fill a row up look at themselves alone, so that no row is empty.
        """
        real = self.real.gather(1, self.source)
        itself = torch.eye(real.shape[1], dtype=torch.bool, device=real.device)
        return (self._same_sequence() & real.unsqueeze(1) | itself).unsqueeze(1)

    def _same_sequence(self) -> Tensor:
        """``(B, P, P)``, True between places of one sequence."""
        sequence = self.source // self.shape[-1]
        return sequence.unsqueeze(2) == sequence.unsqueeze(1)

    def pack(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, C, L)`` as ``(B, P)``."""
        return tokens.flatten(1).gather(1, self.source)

    def unpack(self, rows: Tensor) -> Tensor:
        """Rows ``(B, P, ...)`` as ``(B, C, L, ...)``; without meaning where nothing was kept."""
        images = torch.arange(len(rows), device=rows.device).unsqueeze(1)
        return rows[images, self.places].unflatten(1, self.shape[1:])
