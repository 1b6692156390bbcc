"""Texts in the making over a memory: captions from nothing, answers from a question."""

import torch
from torch import Tensor

from vlm.models.decoder import Prefix, ProjectedMemory, TextDecoder


class WritingState:
    """Texts in the making: a :class:`vlm.decoding.DecodingState`.

    The memory is projected once an image and never repeated or reordered; only the
    short keys and values of the words written so far, and of the question before them,
    follow their row.

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
        self._images = len(memory.mask)
        self._past = None if prefix is None else prefix.past
        self._past_mask = None if prefix is None else prefix.real.flatten(0, 1)
        self._lengths = None if prefix is None else prefix.lengths.flatten()
        self._written = 0
        self._rows = 1

    @classmethod
    def after(cls, decoder: TextDecoder, prefix: Prefix) -> "WritingState":
        """The state of texts that go on from what was read."""
        return cls(decoder, prefix.memory, prefix)

    def step(self, tokens: Tensor) -> Tensor:
        """Newest tokens ``(B, K)`` to log-probabilities of the next, ``(B, K, V)`` float32."""
        self._rows = tokens.shape[1]
        positions = torch.full_like(tokens, self._written)
        if self._lengths is not None:
            positions = positions + self._lengths.view(tokens.shape)
        if self._past_mask is not None:
            newest = self._past_mask.new_ones(len(self._past_mask), 1)
            self._past_mask = torch.cat([self._past_mask, newest], dim=1)
        hidden, self._past = self._decoder.step(
            tokens.reshape(self._images, -1),
            positions=positions.reshape(self._images, -1),
            past=self._past,
            past_mask=self._past_mask,
            memory=self._memory,
        )
        self._written += 1
        logits = self._decoder.logits(hidden.view(*tokens.shape, -1))
        return logits.float().log_softmax(dim=-1)

    def reorder(self, rows: Tensor) -> None:
        """Row ``k`` of image ``b`` goes on from its old row ``rows[b, k]``; ``(B, K')``."""
        first = torch.arange(len(rows), device=rows.device).unsqueeze(1) * self._rows
        flat = (first + rows).flatten()
        if self._past is not None:
            self._past = [past.select(flat) for past in self._past]
        if self._past_mask is not None:
            self._past_mask = self._past_mask[flat]
        if self._lengths is not None:
            self._lengths = self._lengths[flat]
        self._rows = rows.shape[1]
