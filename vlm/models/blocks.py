"""Transformer layers, branch by branch: a sequence among itself, a text over a memory, a thought.

Every branch is pre-norm and adds what it finds to what it was given. With a packing, a sequence
``(B, L, D)`` is given as the tokens ``(T, D)`` of its batch, and masks are those of its rows.
"""

from collections.abc import Callable
from typing import cast

from torch import Tensor, nn

from vlm.models.attention import KeyValues, MultiHeadAttention
from vlm.models.linear import Linear
from vlm.models.packing import Packing


class AttentionBranch(nn.Module):
    """What both kinds of attention are made of.

    Args:
        width: ``D``.
        heads: ``H``.
        dropout: on what the branch adds, in [0, 1).
    """

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = MultiHeadAttention(width, heads)
        self.dropout = nn.Dropout(dropout)


class SelfAttention(AttentionBranch):
    """The branch in which a sequence looks at itself."""

    def forward(self, sequence: Tensor, mask: Tensor, packing: Packing | None = None) -> Tensor:
        """``(B, L, D)`` to the same; ``mask`` broadcasts to ``(B, H, L, L)``."""
        return self.remember(sequence, mask, packing)[0]

    def remember(
        self, sequence: Tensor, mask: Tensor, packing: Packing | None = None
    ) -> tuple[Tensor, KeyValues]:
        """The same, and the keys and values for whoever goes on from the sequence."""
        normed = self.norm(sequence)
        key_values = self.attention.project(normed, packing)
        found = self.attention(normed, key_values, mask, packing)
        return sequence + self.dropout(found), key_values

    def step(
        self,
        newest: Tensor,
        remember: Callable[[KeyValues], KeyValues],
        mask: Tensor | None,
    ) -> Tensor:
        """One new token in each of ``K`` rows that go on from a sequence.

        Args:
            newest: ``(Q, K, D)``.
            remember: takes in the keys and values of the newest tokens, ``(Q, H, K, d)``, and
                gives those of all tokens of all rows, ``(Q, H, S, d)``.
            mask: broadcastable to ``(Q, H, K, S)``, True for what a row goes on from and for
                its newest token; None where that is all.

        Returns:
            ``(Q, K, D)``.
        """
        normed = self.norm(newest)
        written = remember(self.attention.project(normed))
        return newest + self.dropout(self.attention(normed, written, mask))

    def follow(self, texts: Tensor, prefix: KeyValues, real: Tensor) -> Tensor:
        """Texts that go on from one prefix each ``A`` at a time, causally.

        Args:
            texts: ``(Q, A, T, D)``.
            prefix: of the ``Q`` sequences they go on from, ``(Q, H, L, d)``.
            real: ``(Q, L)``, False where a prefix pads.
        """
        normed = self.norm(texts)
        return texts + self.dropout(self.attention.follow(normed, prefix, real))


class CrossAttention(AttentionBranch):
    """The branch in which a text looks at a memory of its width."""

    def forward(
        self, text: Tensor, memory: KeyValues, mask: Tensor, packing: Packing | None = None
    ) -> Tensor:
        """``(B, L, D)`` to the same; ``mask`` broadcasts to ``(B, H, L, N)``."""
        return text + self.dropout(self.attention(self.norm(text), memory, mask, packing))

    def weights(
        self, text: Tensor, memory: KeyValues, mask: Tensor, packing: Packing | None = None
    ) -> Tensor:
        """Where the text looks in the memory: ``(B, H, L, N)``, rows summing to 1."""
        return self.attention.weights(self.norm(text), memory, mask, packing)


class FeedForward(nn.Module):
    """The branch in which every place thinks for itself, four times as wide.

    Args:
        width: ``D``.
        dropout: on what the branch adds, in [0, 1).
    """

    def __init__(self, width: int, *, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(Linear(width, 4 * width), nn.GELU(), Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        """``(..., D)`` to the same."""
        return sequence + self.dropout(self.mlp(self.norm(sequence)))


class EncoderBlock(nn.Module):
    """A layer of a sequence that looks at nothing but itself: regions, or a text before it looks.

    Args:
        width: ``D``.
        heads: ``H``.
        dropout: on what each of the two branches adds, in [0, 1).
    """

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, dropout=dropout)

    def forward(self, sequence: Tensor, mask: Tensor, packing: Packing | None = None) -> Tensor:
        """``(B, L, D)`` to the same; ``mask`` broadcasts to ``(B, H, L, L)``."""
        return self.feed_forward(self.self_attention(sequence, mask, packing))


class DecoderBlock(nn.Module):
    """A layer of a text that looks at itself, then at a memory, and thinks.

    Args:
        width: ``D``.
        heads: ``H``.
        dropout: on what each of the three branches adds, in [0, 1).
    """

    def __init__(self, width: int, heads: int, *, dropout: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, heads, dropout=dropout)
        self.cross_attention = CrossAttention(width, heads, dropout=dropout)
        self.feed_forward = FeedForward(width, dropout=dropout)


def start_small(block: EncoderBlock | DecoderBlock, std: float) -> None:
    """Sets what the branches of a block add at first, for a deep residual sum (GPT-2)."""
    last = [block.self_attention.attention.output, cast(nn.Linear, block.feed_forward.mlp[-1])]
    if isinstance(block, DecoderBlock):
        last.insert(1, block.cross_attention.attention.output)
    for layer in last:
        nn.init.normal_(layer.weight, std=std)
        nn.init.zeros_(layer.bias)
