"""The text decoder: reads tokens, looks at a memory, says what comes next.

Tokens come as ``(B, C, L)``: ``C`` sequences (captions, beams, questions) ask one
image. Its keys and values are computed once and never repeated: the sequences of an
image are laid one after another along the query axis, their padding left out, so that
``(B, H, P, d)`` queries meet ``(B, H, N, d)`` keys. ``P`` is at most ``C * L``.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.models.attention import KeyValues, MultiHeadAttention
from vlm.models.encoder import Memory
from vlm.models.packing import Packing


class DecoderBlock(nn.Module):
    """A pre-norm transformer layer: the text looks at itself, at the memory, and thinks.

    Args:
        width: ``D``.
        heads: ``H``.
        dropout: on what each of the three branches adds, in [0, 1).
    """

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = MultiHeadAttention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = MultiHeadAttention(width, heads)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def look_back(self, text: Tensor, mask: Tensor) -> Tensor:
        """Self-attention over whole sequences.

        Args:
            text: ``(B, P, D)``.
            mask: broadcastable to ``(B, H, P, P)``.
        """
        normed = self.self_norm(text)
        found = self.self_attention(normed, self.self_attention.project(normed), mask)
        return text + self.dropout(found)

    def look_back_step(self, text: Tensor, past: KeyValues | None) -> tuple[Tensor, KeyValues]:
        """Self-attention of one new token a sequence.

        Args:
            text: ``(B, K, D)``, the newest token of each of ``K`` sequences.
            past: keys and values of the tokens before, ``(B * K, H, L, d)``; None if there
                are none.

        Returns:
            the text after the branch, and the keys and values of all tokens.
        """
        normed = self.self_norm(text).flatten(0, 1).unsqueeze(1)
        present = self.self_attention.project(normed)
        if past is not None:
            present = past.append(present)
        found = self.self_attention(normed, present)
        return text + self.dropout(found).view_as(text), present

    def look_at_memory(self, text: Tensor, memory: KeyValues, mask: Tensor) -> Tensor:
        """Cross-attention and the feed-forward branch: ``(B, P, D)`` to the same."""
        found = self.cross_attention(self.cross_norm(text), memory, mask)
        text = text + self.dropout(found)
        return text + self.dropout(self.mlp(self.mlp_norm(text)))

    def cross_weights(self, text: Tensor, memory: KeyValues, mask: Tensor) -> Tensor:
        """Where the text looks in the memory: ``(B, H, P, N)``, rows summing to 1."""
        return self.cross_attention.weights(self.cross_norm(text), memory, mask)


class TextDecoder(nn.Module):
    """A pre-norm transformer decoder with tied input and output embeddings.

    Args:
        vocabulary_size: ``V``.
        width: ``D``, of the text and of the memory.
        layers: how many blocks.
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
        heads: int = 8,
        max_length: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.layers = layers
        self.heads = heads
        self.max_length = max_length
        self.dropout = dropout
        self.token_embedding = nn.Embedding(vocabulary_size, width)
        self.position_embedding = nn.Embedding(max_length, width)
        self.drop = nn.Dropout(dropout)
        blocks = nn.ModuleList(DecoderBlock(width, heads, dropout=dropout) for _ in range(layers))
        self.blocks = cast(Sequence[DecoderBlock], blocks)
        self.output_norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small embeddings, and branches that start small in a deep residual sum (GPT-2)."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        for block in self.blocks:
            thought = cast(nn.Linear, block.mlp[-1])
            for last in (block.self_attention.output, block.cross_attention.output, thought):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(3 * self.layers))
                nn.init.zeros_(last.bias)

    def project(self, memory: Memory) -> list[KeyValues]:
        """Keys and values of a memory for every block, computed once an image."""
        return [block.cross_attention.project(memory.features) for block in self.blocks]

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
        return self._through_blocks(packing, tokens, memory, packing.causal_mask())

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
        return self._through_blocks(packing, tokens, memory, packing.sequence_mask())

    def _through_blocks(
        self, packing: Packing, tokens: Tensor, memory: Memory, mask: Tensor
    ) -> Tensor:
        """Sequences through all blocks, each place looking back where the mask lets it."""
        self._require_positions(tokens.shape[-1])
        text = self._embed(packing.pack(tokens), packing.positions)
        memory_mask = memory.mask[:, None, None, :]
        for block, key_values in zip(self.blocks, self.project(memory), strict=True):
            text = block.look_back(text, mask)
            text = block.look_at_memory(text, key_values, memory_mask)
        return packing.unpack(self.output_norm(text))

    def step(
        self,
        tokens: Tensor,
        *,
        position: int,
        past: list[KeyValues] | None,
        memory: list[KeyValues],
        memory_mask: Tensor,
    ) -> tuple[Tensor, list[KeyValues]]:
        """Reads one more token of every sequence.

        Args:
            tokens: ``(B, K)``, the newest token of each sequence.
            position: of that token; the start token's is 0.
            past: what the call before returned; None at position 0.
            memory: keys and values of every block, from :meth:`project`.
            memory_mask: ``(B, N)``.

        Returns:
            ``(B, K, D)``, and the keys and values of all tokens read so far.
        """
        self._require_positions(position + 1)
        text = self._embed(tokens, torch.full_like(tokens, position))
        mask, presents = memory_mask[:, None, None, :], []
        for index, block in enumerate(self.blocks):
            text, present = block.look_back_step(text, past[index] if past else None)
            text = block.look_at_memory(text, memory[index], mask)
            presents.append(present)
        return self.output_norm(text), presents

    def cross_weights(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Where every token looked: a teacher-forced replay that keeps the weights.

        Args:
            tokens: ``(B, C, L)`` ids, start token first.
            memory: of the ``B`` images.

        Returns:
            ``(layers, B, C, L, H, N)``, each row over ``N`` summing to 1. Position ``l``
            holds the weights with which token ``l + 1`` was chosen.
        """
        self._require_positions(tokens.shape[-1])
        packing = Packing.of(torch.ones_like(tokens, dtype=torch.bool))
        text = self._embed(packing.pack(tokens), packing.positions)
        causal = packing.causal_mask()
        memory_mask, weights = memory.mask[:, None, None, :], []
        for block, key_values in zip(self.blocks, self.project(memory), strict=True):
            text = block.look_back(text, causal)
            looks = block.cross_weights(text, key_values, memory_mask)
            weights.append(packing.unpack(looks.transpose(1, 2)))
            text = block.look_at_memory(text, key_values, memory_mask)
        return torch.stack(weights)

    def logits(self, text: Tensor) -> Tensor:
        """``(..., D)`` to unnormalised scores of the next token, ``(..., V)``."""
        return functional.linear(text, self.token_embedding.weight)

    def _embed(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Ids and their positions, ``(B, P)`` both, to ``(B, P, D)``."""
        return self.drop(self.token_embedding(tokens) + self.position_embedding(positions))

    def _require_positions(self, length: int) -> None:
        if length > self.max_length:
            raise ValueError(f"expected at most {self.max_length} tokens, got {length}")
