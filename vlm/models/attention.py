"""The equation ``softmax(Q K^T / sqrt(d_k)) V``, and the heads that share it.

Masks are boolean, True where a query may look; of two dimensions at least, they broadcast
to ``(B, H, L, N)``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.errors import InputError
from vlm.models.linear import Linear
from vlm.models.packing import Packing


def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much every query looks at every key: ``softmax(Q K^T / sqrt(d_k))``.

    Scaled dot-product attention of Vaswani et al. 2017 (arXiv:1706.03762, equation 1).

    Args:
        query: ``(B, H, L, d)``.
        key: ``(B, H, N, d)``.
        mask: boolean, broadcastable to ``(B, H, L, N)``; True where a query may look.

    Returns:
        ``(B, H, L, N)``, in [0, 1], each row summing to 1.
    """
    similarity = query @ key.transpose(-2, -1) / math.sqrt(key.shape[-1])
    if mask is not None:
        similarity = similarity.masked_fill(~mask, -math.inf)
    return similarity.softmax(dim=-1)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """The whole equation, ``softmax(Q K^T / sqrt(d_k)) V``, written to be read.

    Training and decoding run the fused kernel of the same equation; a test holds
    the two equal, forward and backward.

    Args:
        query: ``(B, H, L, d)``.
        key: ``(B, H, N, d)``.
        value: ``(B, H, N, d)``.
        mask: boolean, broadcastable to ``(B, H, L, N)``; True where a query may look.

    Returns:
        ``(B, H, L, d)``.
    """
    return attention_weights(query, key, mask) @ value


class KeyValues(NamedTuple):
    """A memory as one attention sees it, projected and split into heads.

    Attributes:
        keys: ``(B, H, N, d)``.
        values: ``(B, H, N, d)``.
    """

    keys: Tensor
    values: Tensor

    def select(self, rows: Tensor) -> "KeyValues":
        """The given rows of the batch, ``rows`` being ``(B',)`` indices."""
        return KeyValues(self.keys.index_select(0, rows), self.values.index_select(0, rows))


class MultiHeadAttention(nn.Module):
    """Queries from one sequence, keys and values from another, in several heads.

    Cross-attention when the memory is another sequence, self-attention when it is
    the querying sequence itself: the module is the same. Keys and values are
    projected apart from the queries, so that a memory is projected once however
    many sequences ask it.

    Args:
        width: of the queries and of the output, ``D``.
        heads: ``H``; must divide ``width``.
        memory_width: of what is looked at; ``width`` when not given.

    Raises:
        InputError: if ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, heads: int, *, memory_width: int | None = None) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width must be a multiple of heads, got width={width}, heads={heads}")
        self.heads = heads
        self.query = Linear(width, width)
        self.key_value = Linear(memory_width or width, 2 * width)
        self.output = Linear(width, width)

    def project(self, memory: Tensor, packing: Packing | None = None) -> KeyValues:
        """Keys and values of a memory ``(B, N, memory_width)``, or of packed tokens as rows."""
        projected = self.key_value(memory)
        if packing is not None:
            projected = packing.spread(projected)
        keys, values = projected.chunk(2, dim=-1)
        return KeyValues(self._split(keys), self._split(values))

    def forward(
        self,
        queries: Tensor,
        key_values: KeyValues,
        mask: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """What the queries find in the memory.

        Args:
            queries: ``(B, L, D)``.
            key_values: of the memory, from :meth:`project`.
            mask: boolean, broadcastable to ``(B, H, L, N)``; True where a query may look.
            packing: where it is given, queries are ``(T, D)`` tokens, and ``L`` of the mask is
                the ``P`` places of its rows.

        Returns:
            as the queries, ``(B, L, D)`` or ``(T, D)``.
        """
        attended = functional.scaled_dot_product_attention(
            self._asked(queries, packing), key_values.keys, key_values.values, attn_mask=mask
        )
        return self.gather(attended, packing)

    def weights(
        self,
        queries: Tensor,
        key_values: KeyValues,
        mask: Tensor | None = None,
        packing: Packing | None = None,
    ) -> Tensor:
        """Where the queries look: ``(B, H, L, N)``, each row summing to 1."""
        return attention_weights(self._asked(queries, packing), key_values.keys, mask)

    def gather(self, attended: Tensor, packing: Packing | None = None) -> Tensor:
        """What all heads found, ``(B, H, L, d)``, as the queries came: ``(B, L, D)``."""
        found = attended.transpose(1, 2).flatten(2)
        return self.output(found if packing is None else packing.collect(found))

    def follow(self, texts: Tensor, prefix: KeyValues, real: Tensor) -> Tensor:
        """Causal self-attention of texts that go on from a prefix, which ``A`` of them share.

        One softmax runs over the prefix and the text's own places; the keys and values of the
        prefix are not repeated, however many texts go on from it.

        Args:
            texts: ``(Q, A, T, D)``.
            prefix: keys and values of the ``Q`` prefixes, ``(Q, H, L, d)``.
            real: ``(Q, L)``, False where a prefix pads.

        Returns:
            ``(Q, A, T, D)``.
        """
        several, length = texts.shape[1:3]
        queries = self._split(self.query(texts).flatten(1, 2))  # (Q, H, A * T, d)
        own = self.project(texts.flatten(0, 1))  # (Q * A, H, T, d)
        before = queries @ prefix.keys.transpose(-2, -1)
        before = before.masked_fill(~real[:, None, None, :], -math.inf)
        apart = queries.unflatten(2, (several, length)).transpose(1, 2)  # (Q, A, H, T, d)
        later = torch.ones(length, length, dtype=torch.bool, device=texts.device).triu(1)
        among = apart.flatten(0, 1) @ own.keys.transpose(-2, -1)
        among = among.masked_fill(later, -math.inf).unflatten(0, (-1, several))
        before = before.unflatten(2, (several, length)).transpose(1, 2)  # (Q, A, H, T, L)
        scores = torch.cat([before, among], dim=-1) / math.sqrt(queries.shape[-1])
        on_prefix, on_own = scores.softmax(dim=-1).split([real.shape[-1], length], dim=-1)
        found = on_prefix.transpose(1, 2).flatten(2, 3) @ prefix.values
        found = found.unflatten(2, (several, length)).transpose(1, 2)
        found = found + (on_own.flatten(0, 1) @ own.values).unflatten(0, (-1, several))
        return self.output(found.transpose(2, 3).flatten(3))

    def _asked(self, queries: Tensor, packing: Packing | None) -> Tensor:
        """Queries as the heads see them, ``(B, H, L, d)``."""
        asked = self.query(queries)
        return self._split(asked if packing is None else packing.spread(asked))

    def _split(self, sequence: Tensor) -> Tensor:
        """``(B, L, D)`` into heads, ``(B, H, L, d)``."""
        return sequence.unflatten(-1, (self.heads, -1)).transpose(1, 2)
