"""Search: rows that grow by one token at a time, and the one loop that drives every strategy."""

from abc import ABC, abstractmethod
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from vlm.decoding.strategy import Decoded, DecodingState, take


class Rows(NamedTuple):
    """M sequences for each of B images; tokens that are not there are -1.

    Attributes:
        scores: ``(B, M)``, by which a strategy ranks.
        tokens: ``(B, M, max_length)``.
        log_probabilities: ``(B, M, max_length)``.
    """

    scores: Tensor
    tokens: Tensor
    log_probabilities: Tensor

    @classmethod
    def empty(cls, shape: tuple[int, int, int], *, score: float, device: torch.device) -> "Rows":
        """Rows of no token, of a shape ``(B, M, max_length)``."""
        return cls(
            scores=torch.full(shape[:2], score, device=device),
            tokens=torch.full(shape, -1, device=device),
            log_probabilities=torch.zeros(shape, device=device),
        )

    def take(self, index: Tensor) -> "Rows":
        """Rows ``index`` ``(B, M')`` of each image."""
        return Rows(*(take(field, index) for field in self))

    def of(self, images: Tensor) -> "Rows":
        """The rows of some images, ``(B,)`` boolean."""
        return Rows(*(field[images] for field in self))

    def extend(self, tokens: Tensor, log_probabilities: Tensor, position: int) -> None:
        """Writes a token ``(B, M)`` at a position of every row."""
        self.tokens[..., position] = tokens
        self.log_probabilities[..., position] = log_probabilities

    def first(self, several: int) -> "Rows":
        """The first rows of each image."""
        return Rows(*(field[:, :several] for field in self))

    def best(self, others: "Rows") -> "Rows":
        """As many rows as these, the best of these and of others."""
        pool = Rows(*(torch.cat(pair, dim=1) for pair in zip(self, others, strict=True)))
        return pool.take(pool.scores.topk(self.scores.shape[1]).indices)

    def decoded(self, pad: int) -> Decoded:
        """Cut to the longest, pads in place of -1, nothing in sequences that score -inf."""
        missing = (self.scores == -inf).unsqueeze(-1)
        tokens = self.tokens.masked_fill(missing, -1)
        lengths = (tokens >= 0).sum(-1)
        longest = int(lengths.max())
        return Decoded(
            tokens=tokens.masked_fill(tokens < 0, pad)[..., :longest],
            lengths=lengths,
            log_probabilities=self.log_probabilities.masked_fill(missing, 0)[..., :longest],
            scores=self.scores,
        )


class Search(ABC):
    """A strategy at work on a batch.

    Attributes:
        rows: ``K`` an image, that go on.
        parents: ``(B, K)``, the rows of the step before that they go on from; None if each goes
            on from itself.
        done: ``(B,)``, True for images that need no further step.
    """

    rows: Rows
    parents: Tensor | None
    done: Tensor

    @abstractmethod
    def advance(self, log_probabilities: Tensor, position: int) -> None:
        """Chooses the next token of every row.

        Args:
            log_probabilities: ``(B, K, V)`` of the tokens at this position.
            position: from 0.
        """

    @abstractmethod
    def found(self) -> Rows:
        """What has been found, best first."""

    def keep(self, images: Tensor) -> None:
        """Forgets all images but these, ``(B,)`` boolean."""
        self.rows, self.done = self.rows.of(images), self.done[images]
        self.parents = None if self.parents is None else self.parents[images]


@torch.no_grad()
def run(search: Search, state: DecodingState, start: Tensor, *, max_length: int) -> Rows:
    """Steps until all images are done or ``max_length`` tokens are there.

    Images that are done are left out of the steps that the others need, as soon as the state
    finds it worth its while.

    Args:
        search: fresh.
        state: fresh.
        start: ``(B, 1)`` start tokens.
        max_length: most tokens of a row.

    Returns:
        what the search found, in the order of the batch.
    """
    tokens, here = start, torch.arange(len(start), device=start.device)
    images, parts = [], []
    for position in range(max_length):
        search.advance(state.step(tokens), position)
        if position + 1 == max_length or search.done.all():
            break
        if search.done.any():
            kept = state.keep(~search.done)
            if not kept.all():
                images.append(here[~kept])
                parts.append(search.found().of(~kept))
                search.keep(kept)
                here = here[kept]
        if search.parents is not None:
            state.reorder(search.parents)
        tokens = search.rows.tokens[..., position].clamp(min=0)  # rows that have ended say -1
    order = torch.cat([*images, here]).argsort()
    return Rows(*(torch.cat(fields)[order] for fields in zip(*parts, search.found(), strict=True)))
