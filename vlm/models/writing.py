"""Texts in the making over a memory: captions from nothing, answers from a question."""

import torch
from torch import Tensor

from vlm.models.cache import TextCache
from vlm.models.decoder import Prefix, ProjectedMemory, TextDecoder

WORTH_COPYING = 0.75  # of the images: if no more are wanted, leaving the others out pays


class WritingState:
    """Texts in the making: a :class:`vlm.decoding.DecodingState`.

    The memory is projected once an image and never repeated or reordered, and neither are the
    keys and values of what was written.

    Args:
        decoder: that writes.
        memory: of the ``B`` images, for texts that start from nothing.
        prefix: of ``C`` sequences an image that texts go on from; the state then is that
            of a batch of ``B * C``.
    """

    def __init__(
        self, decoder: TextDecoder, memory: ProjectedMemory, prefix: Prefix | None = None
    ) -> None:
        self._decoder = decoder
        self._memory = memory
        self._written = 0
        if prefix is None:
            nothing = memory.mask.new_ones(len(memory.mask), 0)
            self._cache, self._lengths = TextCache(nothing), nothing.sum(dim=1)
        else:
            self._cache = TextCache(prefix.real.flatten(0, 1), prefix.past)
            self._lengths = prefix.lengths.flatten()

    @classmethod
    def after(cls, decoder: TextDecoder, prefix: Prefix) -> "WritingState":
        """The state of texts that go on from what was read."""
        return cls(decoder, prefix.memory, prefix)

    def step(self, tokens: Tensor) -> Tensor:
        """Newest tokens ``(B, K)`` to log-probabilities of the next, ``(B, K, V)`` float32."""
        positions = (self._lengths + self._written).unsqueeze(1).expand_as(tokens)
        hidden = self._decoder.step(
            tokens, positions=positions, cache=self._cache, memory=self._memory
        )
        self._written += 1
        return self._decoder.logits(hidden).float().log_softmax(dim=-1)

    def reorder(self, rows: Tensor) -> None:
        """Row ``k`` of image ``b`` goes on from its old row ``rows[b, k]``; ``(B, K')``."""
        self._cache.reorder(rows)

    def keep(self, wanted: Tensor) -> Tensor:
        """Leaves out what is not wanted, where copying the rest costs less than going on.

        Args:
            wanted: ``(B,)`` boolean.

        Returns:
            ``(B,)``, True for what was kept; sequences of one image stay together.
        """
        images = wanted.view(len(self._memory.mask), -1).any(dim=1)
        if images.sum() > WORTH_COPYING * len(images):
            return torch.ones_like(wanted)
        kept = images.repeat_interleave(len(wanted) // len(images))
        self._memory = self._memory.select(images.nonzero().squeeze(1))
        self._cache.keep(kept.nonzero().squeeze(1))
        self._lengths = self._lengths[kept]
        return kept
