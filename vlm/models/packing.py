"""Packing: the real tokens of a batch one after another, and back to a row an image to attend."""

from typing import NamedTuple

import torch
from torch import Tensor


class Packing(NamedTuple):
    """Where the ``T`` real positions of ``(B, C, L)`` sequences lie.

    Most of a transformer treats every token by itself and sees ``(T, ...)``, without any padding.
    Attention needs the tokens of an image beside each other: rows ``(B, P, ...)``, ``P`` being
    the most tokens that an image has.

    Attributes:
        shape: ``(B, C, L)``.
        kept: ``(T,)``, which of the ``B * C * L`` positions each token has.
        places: ``(T,)``, its place among the ``B * P`` of the rows.
        sequences: ``(B, P)``, which of its image's sequences a place belongs to; -1 for padding.
    """

    shape: torch.Size
    kept: Tensor
    places: Tensor
    sequences: Tensor

    @classmethod
    def of(cls, real: Tensor) -> "Packing":
        """From a mask ``(B, C, L)``, True for the positions to keep."""
        images, length = real.shape[0], real.shape[2]
        kept = real.flatten().nonzero().squeeze(1)
        image, position = kept // real[0].numel(), kept % real[0].numel()
        counts = real.flatten(1).sum(dim=1)
        longest = int(counts.max())
        before = counts.cumsum(dim=0) - counts
        places = torch.arange(len(kept), device=real.device) - before[image] + image * longest
        sequences = kept.new_full((images * longest,), -1)
        sequences[places] = position // length
        return cls(real.shape, kept, places, sequences.view(images, longest))

    @property
    def positions(self) -> Tensor:
        """``(T,)``, how many positions of its sequence come before each token."""
        return self.kept % self.shape[-1]

    def causal_mask(self) -> Tensor:
        """``(B, 1, P, P)``, True where a place may look: at its own sequence, up to itself."""
        longest = self.sequences.shape[1]
        earlier = torch.ones(longest, longest, dtype=torch.bool, device=self.kept.device).tril()
        return (self._same_sequence() & earlier).unsqueeze(1)

    def sequence_mask(self) -> Tensor:
        """``(B, 1, P, P)``, True where a place may look: at all places of its sequence."""
        return self._same_sequence().unsqueeze(1)

    def _same_sequence(self) -> Tensor:
        """``(B, P, P)``, True between places of one sequence.

        Padding counts as one more, which looks at itself: attention over nothing is not a number.
        """
        return self.sequences.unsqueeze(2) == self.sequences.unsqueeze(1)

    def pack(self, positions: Tensor) -> Tensor:
        """What positions have, ``(B, C, L, ...)``, as what tokens have, ``(T, ...)``."""
        return positions.flatten(0, 2).index_select(0, self.kept)

    def unpack(self, tokens: Tensor) -> Tensor:
        """``(T, ...)`` as ``(B, C, L, ...)``, zero where nothing was kept."""
        return _put(tokens, self.kept, self.shape.numel()).unflatten(0, self.shape)

    def spread(self, tokens: Tensor) -> Tensor:
        """``(T, ...)`` as rows ``(B, P, ...)``, zero at their padding."""
        return _put(tokens, self.places, self.sequences.numel()).unflatten(0, self.sequences.shape)

    def collect(self, rows: Tensor) -> Tensor:
        """Rows ``(B, P, ...)`` as ``(T, ...)``."""
        return rows.flatten(0, 1).index_select(0, self.places)


def _put(tokens: Tensor, places: Tensor, size: int) -> Tensor:
    """``(size, ...)``: each token at its place, zeros elsewhere."""
    return tokens.new_zeros(size, *tokens.shape[1:]).index_copy_(0, places, tokens)
