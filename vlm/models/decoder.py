"""The text decoder: reads tokens, looks at a memory, says what comes next.

Tokens come as ``(B, C, L)``: ``C`` sequences (captions, beams, questions) ask one
image. Its keys and values are computed once and never repeated: in
cross-attention the sequences are folded into the query axis, ``(B, H, C * L, d)``
against ``(B, H, N, d)``.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.models.attention import KeyValues, MultiHeadAttention
from vlm.models.encoder import Memory


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

    def look_back(
        self, text: Tensor, past: KeyValues | None, mask: Tensor | None
    ) -> tuple[Tensor, KeyValues]:
        """Self-attention over the text so far.

        Args:
            text: ``(B, C, L, D)``, the newest positions.
            past: keys and values of the earlier positions, ``(B * C, H, L', d)``.
            mask: broadcastable to ``(B * C, H, L, L' + L)``.

        Returns:
            the text after the branch, and the keys and values of all its positions.
        """
        normed = self.self_norm(text).flatten(0, 1)
        present = self.self_attention.project(normed)
        if past is not None:
            present = past.append(present)
        found = self.self_attention(normed, present, mask).unflatten(0, text.shape[:2])
        return text + self.dropout(found), present

    def look_at_memory(self, text: Tensor, memory: KeyValues, mask: Tensor) -> Tensor:
        """Cross-attention and the feed-forward branch: ``(B, C, L, D)`` to the same."""
        queries = self.cross_norm(text).flatten(1, 2)
        found = self.cross_attention(queries, memory, mask).unflatten(1, text.shape[1:3])
        text = text + self.dropout(found)
        return text + self.dropout(self.mlp(self.mlp_norm(text)))

    def cross_weights(self, text: Tensor, memory: KeyValues, mask: Tensor) -> Tensor:
        """Where the text looks in the memory: ``(B, C, L, H, N)``, rows summing to 1."""
        queries = self.cross_norm(text).flatten(1, 2)
        weights = self.cross_attention.weights(queries, memory, mask)
        return weights.transpose(1, 2).unflatten(1, text.shape[1:3])


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
        self.blocks = nn.ModuleList(
            DecoderBlock(width, heads, dropout=dropout) for _ in range(layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small embeddings, and branches that start small in a deep residual sum (GPT-2)."""
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.02)
        for block in self.blocks:
            for last in (block.self_attention.output, block.cross_attention.output, block.mlp[-1]):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(3 * self.layers))
                nn.init.zeros_(last.bias)

    def project(self, memory: Memory) -> list[KeyValues]:
        """Keys and values of a memory for every block, computed once an image."""
        return [block.cross_attention.project(memory.features) for block in self.blocks]

    def forward(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Reads whole sequences at once, teacher-forced.

        Args:
            tokens: ``(B, C, L)`` ids, start token first, padding last.
            memory: of the ``B`` images.

        Returns:
            ``(B, C, L, D)``; position ``l`` has seen tokens 0..l alone. Positions of
            padding hold numbers without meaning.
        """
        text, causal = self._embed(tokens), _causal_mask(tokens)
        memory_mask = memory.mask[:, None, None, :]
        for block, key_values in zip(self.blocks, self.project(memory), strict=True):
            text, _ = block.look_back(text, None, causal)
            text = block.look_at_memory(text, key_values, memory_mask)
        return self.output_norm(text)

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
        text = self._embed(tokens.unsqueeze(-1), position)
        mask, presents = memory_mask[:, None, None, :], []
        for index, block in enumerate(self.blocks):
            text, present = block.look_back(text, past[index] if past else None, None)
            text = block.look_at_memory(text, memory[index], mask)
            presents.append(present)
        return self.output_norm(text).squeeze(2), presents

    def cross_weights(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Where every token looked: a teacher-forced replay that keeps the weights.

        Args:
            tokens: ``(B, C, L)`` ids, start token first.
            memory: of the ``B`` images.

        Returns:
            ``(layers, B, C, L, H, N)``, each row over ``N`` summing to 1. Position ``l``
            holds the weights with which token ``l + 1`` was chosen.
        """
        text, causal = self._embed(tokens), _causal_mask(tokens)
        memory_mask, weights = memory.mask[:, None, None, :], []
        for block, key_values in zip(self.blocks, self.project(memory), strict=True):
            text, _ = block.look_back(text, None, causal)
            weights.append(block.cross_weights(text, key_values, memory_mask))
            text = block.look_at_memory(text, key_values, memory_mask)
        return torch.stack(weights)

    def logits(self, text: Tensor) -> Tensor:
        """``(..., D)`` to unnormalised scores of the next token, ``(..., V)``."""
        return functional.linear(text, self.token_embedding.weight)

    def _embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        """``(B, C, L)`` ids, the first at position ``start``, to ``(B, C, L, D)``."""
        end = start + tokens.shape[-1]
        if end > self.max_length:
            raise ValueError(f"expected at most {self.max_length} tokens, got {end}")
        positions = self.position_embedding.weight[start:end]
        return self.drop(self.token_embedding(tokens) + positions)


def _causal_mask(tokens: Tensor) -> Tensor:
    """``(L, L)``, True where a token may look: at itself and what came before."""
    length = tokens.shape[-1]
    return torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
