"""The text decoder: reads tokens, looks at a memory, says what comes next.

Tokens come as ``(B, C, L)``: ``C`` sequences (captions, beams, questions) ask one
image. Its keys and values are computed once and never repeated: the sequences of an
image are laid one after another along the query axis, their padding left out, so that
``(B, H, P, d)`` queries meet ``(B, H, N, d)`` keys. ``P`` is at most ``C * L``.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from vlm.models.attention import KeyValues
from vlm.models.blocks import DecoderBlock, EncoderBlock, start_small
from vlm.models.cache import TextCache
from vlm.models.encoder import Memory
from vlm.models.linear import linear
from vlm.models.packing import Packing


class ProjectedMemory(NamedTuple):
    """A memory as the blocks of a decoder see it.

    Attributes:
        key_values: of every block's cross-attention, ``(B, H, N, d)``.
        mask: ``(B, 1, 1, N)``, True where there is something to look at.
    """

    key_values: list[KeyValues]
    mask: Tensor

    def select(self, images: Tensor) -> "ProjectedMemory":
        """The memory of some images, ``(B',)`` indices."""
        kept = [each.select(images) for each in self.key_values]
        return ProjectedMemory(kept, self.mask.index_select(0, images))


class Prefix(NamedTuple):
    """Sequences that were read and that others go on from, ``Q = B * C`` of them.

    Attributes:
        past: keys and values of every block's self-attention, ``(Q, H, L, d)``.
        real: ``(B, C, L)``, False where a sequence pads.
        memory: that they looked at.
    """

    past: list[KeyValues]
    real: Tensor
    memory: ProjectedMemory

    @property
    def lengths(self) -> Tensor:
        """``(B, C)``, tokens of each sequence."""
        return self.real.sum(dim=-1)


class TextDecoder(nn.Module):
    """A pre-norm transformer decoder with tied input and output embeddings.

    Args:
        vocabulary_size: ``V``.
        width: ``D``, of the text and of the memory.
        layers: how many blocks look at the memory.
        text_layers: how many before them look at the text alone, as a question is read
            before it meets the image in MCAN (Yu et al. 2019, arXiv:1906.10770).
        heads: ``H`` of every block.
        max_length: positions there are embeddings for, the start token's included.
        dropout: on the embedded text and on every branch, in [0, 1).
    """

    def __init__(
        self,
        vocabulary_size: int,
        *,
        width: int = 512,
        layers: int = 3,
        text_layers: int = 0,
        heads: int = 8,
        max_length: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.layers = layers
        self.text_layers = text_layers
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.position_embedding = nn.Embedding(max_length, width)
        self.drop = nn.Dropout(dropout)
        first = nn.ModuleList(
            EncoderBlock(width, heads, dropout=dropout) for _ in range(text_layers)
        )
        self.text_blocks = cast(Sequence[EncoderBlock], first)
        blocks = nn.ModuleList(DecoderBlock(width, heads, dropout=dropout) for _ in range(layers))
        self.blocks = cast(Sequence[DecoderBlock], blocks)
        self.output_norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small embeddings, and branches that start small in a deep residual sum (GPT-2)."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        for block in (*self.text_blocks, *self.blocks):
            start_small(block, 0.02 / math.sqrt(3 * self.layers + 2 * self.text_layers))

    def project(self, memory: Memory) -> ProjectedMemory:
        """Keys and values of a memory for every block, computed once an image."""
        attentions = [block.cross_attention.attention for block in self.blocks]
        key_values = [attention.project(memory.features) for attention in attentions]
        return ProjectedMemory(key_values, memory.mask[:, None, None, :])

    def forward(self, tokens: Tensor, memory: Memory, *, real: Tensor | None = None) -> Tensor:
        """Reads whole sequences at once, teacher-forced.

        Args:
            tokens: ``(B, C, L)`` ids, start token first, padding last.
            memory: of the ``B`` images.
            real: ``(B, C, L)``, False where the text is padding, which then costs nothing;
                all are read when not given.

        Returns:
            ``(B, C, L, D)``; position ``l`` has seen tokens 0..l alone. Positions of
            padding hold numbers without meaning.
        """
        packing = Packing.of(torch.ones_like(tokens, dtype=torch.bool) if real is None else real)
        mask = packing.causal_mask()
        return self._through_blocks(packing, tokens, self.project(memory), mask)[0]

    def read(self, tokens: Tensor, memory: Memory, *, real: Tensor) -> Tensor:
        """Reads whole sequences in both directions, as a question that is there already.

        Args:
            tokens: ``(B, C, L)`` ids, start token first, padding last.
            memory: of the ``B`` images.
            real: ``(B, C, L)``, False where the text is padding, which then costs nothing.

        Returns:
            ``(B, C, L, D)``; every position has seen all real tokens of its sequence.
            Positions of padding hold numbers without meaning.
        """
        packing = Packing.of(real)
        mask = packing.sequence_mask()
        return self._through_blocks(packing, tokens, self.project(memory), mask)[0]

    def begin(self, tokens: Tensor, memory: Memory, *, real: Tensor) -> Prefix:
        """The same reading, as what texts that go on from the sequences need of it.

        Args:
            tokens: ``(B, C, L)`` ids, start token first, padding last.
            memory: of the ``B`` images.
            real: ``(B, C, L)``, False where the text is padding, which then costs nothing.
        """
        packing, projected = Packing.of(real), self.project(memory)
        _, past = self._through_blocks(packing, tokens, projected, packing.sequence_mask())
        return Prefix([_apart(packing, own) for own in past], real, projected)

    def follow(self, tokens: Tensor, prefix: Prefix) -> Tensor:
        """Reads texts that go on from what was read, teacher-forced.

        All ``A`` texts of a sequence share its keys and values, and those of the image.

        Args:
            tokens: ``(B, C, A, T)`` ids, start token first.
            prefix: of the ``C`` sequences an image, from :meth:`begin`.

        Returns:
            ``(B, C, A, T, D)``; position ``t`` has seen its sequence and tokens 0..t alone.
        """
        images, _, several, length = tokens.shape
        positions = prefix.lengths[..., None, None] + torch.arange(length, device=tokens.device)
        self._require_positions(prefix.real.shape[-1] + length)
        text = self._embed(tokens, positions.expand_as(tokens))
        text, real, past = text.flatten(0, 1), prefix.real.flatten(0, 1), iter(prefix.past)
        for block in self.text_blocks:
            text = block.feed_forward(block.self_attention.follow(text, next(past), real))
        memory = prefix.memory
        for block, key_values in zip(self.blocks, memory.key_values, strict=True):
            text = block.self_attention.follow(text, next(past), real)
            text = block.cross_attention(
                text.reshape(images, -1, self.width), key_values, memory.mask
            )
            text = block.feed_forward(text).view(-1, several, length, self.width)
        return self.output_norm(text).view(*tokens.shape, self.width)

    def step(
        self, tokens: Tensor, *, positions: Tensor, cache: TextCache, memory: ProjectedMemory
    ) -> Tensor:
        """Reads one more token in each of ``K`` rows of every sequence.

        Args:
            tokens: ``(Q, K)``, the newest token of each row.
            positions: ``(Q, K)`` of those tokens; a start token's is 0 where nothing was read.
            cache: of what the ``Q`` sequences and their rows hold so far; takes these in.
            memory: of ``B`` images, from :meth:`project`; ``Q`` is a multiple of ``B``.

        Returns:
            ``(Q, K, D)``.
        """
        heard = cache.widen(tokens.shape[1])
        self._require_positions(cache.length)
        text = self._embed(tokens, positions)
        for layer, block in enumerate((*self.text_blocks, *self.blocks)):
            text = block.self_attention.step(text, partial(cache.extend, layer), heard)
            if isinstance(block, DecoderBlock):
                looks = memory.key_values[layer - self.text_layers]
                asking = text.view(len(memory.mask), -1, self.width)
                text = block.cross_attention(asking, looks, memory.mask).view_as(text)
            text = block.feed_forward(text)
        return self.output_norm(text)

    def cross_weights(
        self, tokens: Tensor, memory: Memory, *, real: Tensor | None = None
    ) -> Tensor:
        """Where every token of a text looked: a teacher-forced replay that keeps the weights.

        Args:
            tokens: ``(B, C, L)`` ids, start token first.
            memory: of the ``B`` images.
            real: ``(B, C, L)``, False where the text is padding; all are read when not given.

        Returns:
            ``(layers, B, C, L, H, N)``, each row over ``N`` summing to 1, of padding to 0.
            Position ``l`` holds the weights with which token ``l + 1`` was chosen.
        """
        packing = Packing.of(torch.ones_like(tokens, dtype=torch.bool) if real is None else real)
        return self._weights(packing, tokens, memory, packing.causal_mask())

    def reading_weights(self, tokens: Tensor, memory: Memory, *, real: Tensor) -> Tensor:
        """Where every token of a sequence looked that was read in both directions.

        Args:
            tokens: ``(B, C, L)`` ids, start token first, padding last.
            memory: of the ``B`` images.
            real: ``(B, C, L)``, False where the text is padding.

        Returns:
            ``(layers, B, C, L, H, N)``, each row over ``N`` summing to 1; position ``l``
            holds what token ``l`` looked at; rows of padding are 0.
        """
        packing = Packing.of(real)
        return self._weights(packing, tokens, memory, packing.sequence_mask())

    def logits(self, text: Tensor) -> Tensor:
        """``(..., D)`` to unnormalised scores of the next token, ``(..., V)``."""
        return linear(text, self.token_embedding.weight)

    def _through_blocks(
        self, packing: Packing, tokens: Tensor, memory: ProjectedMemory, mask: Tensor
    ) -> tuple[Tensor, list[KeyValues]]:
        """Sequences through all blocks, each place looking back where the mask lets it."""
        self._require_positions(tokens.shape[-1])
        text = self._embed(packing.pack(tokens), packing.positions)
        past = []
        for block in self.text_blocks:
            text, own = block.self_attention.remember(text, mask, packing)
            text = block.feed_forward(text)
            past.append(own)
        for block, looks in zip(self.blocks, memory.key_values, strict=True):
            text, own = block.self_attention.remember(text, mask, packing)
            text = block.cross_attention(text, looks, memory.mask, packing)
            text = block.feed_forward(text)
            past.append(own)
        return packing.unpack(self.output_norm(text)), past

    def _weights(self, packing: Packing, tokens: Tensor, memory: Memory, mask: Tensor) -> Tensor:
        """The weights of every block's cross-attention, ``(layers, B, C, L, H, N)``."""
        self._require_positions(tokens.shape[-1])
        text = self._embed(packing.pack(tokens), packing.positions)
        for block in self.text_blocks:
            text = block(text, mask, packing)
        projected, weights = self.project(memory), []
        for block, looks in zip(self.blocks, projected.key_values, strict=True):
            text = block.self_attention(text, mask, packing)
            seen = block.cross_attention.weights(text, looks, projected.mask, packing)
            weights.append(packing.unpack(packing.collect(seen.transpose(1, 2))))
            if len(weights) < self.layers:  # nobody looks after the last
                text = block.cross_attention(text, looks, projected.mask, packing)
                text = block.feed_forward(text)
        return torch.stack(weights)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Ids and their positions, of one shape, to that shape with ``D``."""
        return self.drop(self.token_embedding(tokens) + self.position_embedding(positions))

    def _require_positions(self, length: int) -> None:
        if length > self.max_length:
            raise ValueError(f"expected at most {self.max_length} tokens, got {length}")


def _apart(packing: Packing, own: KeyValues) -> KeyValues:
    """Keys and values of packed rows, ``(B, H, P, d)``, as ``(B * C, H, L, d)``."""
    rows = (packing.unpack(packing.collect(part.transpose(1, 2))) for part in own)
    return KeyValues(*(part.flatten(0, 1).transpose(1, 2) for part in rows))
