"""Greedy and Sampling: rows that are extended one token at a time and never compared."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from vlm.decoding.masks import forbid_special
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, Strategy, require, take


@dataclass(frozen=True)
class Greedy(Strategy):
    """The most probable token at every step: one sequence an image, scored by its sum.

    Attributes:
        min_length: fewest tokens before the end token, in [0, max_length].
        max_length: most tokens, end included, at least 1.

    Raises:
        InputError: an option is out of its range.
    """

    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        require(self, "max_length", "of at least 1", holds=self.max_length >= 1)
        allowed = f"in [0, {self.max_length}], the largest being max_length"
        require(self, "min_length", allowed, holds=0 <= self.min_length <= self.max_length)

    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode one sequence an image."""

        def most_probable(scores: Tensor, position: int) -> Tensor:
            forbid_special(scores, special, end=position < self.min_length)
            return scores.argmax(-1)

        start = torch.full((batch, 1), special.start, device=device)
        return _extend(state, most_probable, start, max_length=self.max_length, special=special)


@dataclass(frozen=True)
class Sampling(Strategy):
    """Tokens drawn from the model's distribution: sequences scored, and sorted, by their sum.

    Start, pad and unknown are never drawn. The nucleus (``top_p``) is that of Holtzman et al.
    (2020).

    Attributes:
        samples: independent sequences an image, at least 1.
        temperature: divides the log-probabilities before drawing, in [0.01, 100].
        top_k: draw only from this many most probable tokens; 0 for all.
        top_p: draw only from the fewest tokens that together reach this probability, in
            (0, 1]; applied after temperature and ``top_k``.
        max_length: most tokens, end included, at least 1.
        seed: makes every call draw the same numbers, as evaluation wants; with None they come
            from torch's global generator, as training wants.
        greedy: whether one row more comes first, that of ``Greedy(min_length=0)``, which is no
            sample: what is drawn is the same with it and without, and ``samples`` and order do
            not count it.

    Raises:
        InputError: an option is out of its range.
    """

    samples: int = 1
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    max_length: int = 20
    seed: int | None = None
    greedy: bool = False

    def __post_init__(self) -> None:
        require(self, "samples", "of at least 1", holds=self.samples >= 1)
        require(self, "temperature", "in [0.01, 100]", holds=0.01 <= self.temperature <= 100)
        require(self, "top_k", "of at least 0", holds=self.top_k >= 0)
        require(self, "top_p", "in (0, 1]", holds=0 < self.top_p <= 1)
        require(self, "max_length", "of at least 1", holds=self.max_length >= 1)

    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode ``samples`` sequences an image, after the greedy one where it is asked for."""
        generator = None
        if self.seed is not None:
            generator = torch.Generator(device).manual_seed(self.seed)

        def draw(scores: Tensor, _position: int) -> Tensor:
            forbid_special(scores, special, end=False)
            best, scores = scores[:, :first].argmax(-1), scores[:, first:] / self.temperature
            scores = _nucleus(_most_probable(scores, self.top_k), self.top_p)
            rows = scores.softmax(-1).flatten(0, 1)
            drawn = torch.multinomial(rows, 1, generator=generator).view(batch, -1)
            return torch.cat([best, drawn], dim=1)

        first = int(self.greedy)  # of the rows that are drawn
        start = torch.full((batch, first + self.samples), special.start, device=device)
        rows = _extend(state, draw, start, max_length=self.max_length, special=special)
        order = first + rows.scores[:, first:].argsort(dim=-1, descending=True)
        order = torch.cat([torch.zeros_like(order[:, :first]), order], dim=1)
        return Decoded(*(take(field, order) for field in rows))


def _most_probable(scores: Tensor, k: int) -> Tensor:
    """Set all but the ``k`` highest scores to -inf; 0 keeps all."""
    if not 0 < k < scores.shape[-1]:
        return scores
    return scores.masked_fill(scores < scores.topk(k).values[..., -1:], -inf)


def _nucleus(scores: Tensor, p: float) -> Tensor:
    """Set to -inf all but the highest scores that together reach probability ``p``."""
    if p == 1:
        return scores
    probabilities, order = scores.softmax(-1).sort(dim=-1, descending=True)
    reached = probabilities.cumsum(-1) - probabilities >= p  # before the token itself
    return scores.masked_fill(reached.gather(-1, order.argsort(-1)), -inf)


def _extend(
    state: DecodingState,
    choose: Callable[[Tensor, int], Tensor],
    start: Tensor,
    *,
    max_length: int,
    special: SpecialTokens,
) -> Decoded:
    """Extend rows until all have ended.

    Args:
        state: fresh.
        choose: from scores ``(B, R, V)`` of its own and the position to tokens ``(B, R)``.
        start: ``(B, R)`` start tokens.
        max_length: most tokens a row.
        special: the end that stops a row and the pad that follows.
    """
    ended = torch.zeros_like(start, dtype=torch.bool)
    lengths = torch.zeros_like(start)
    tokens, log_probabilities = [], []
    newest = start[:, :1]
    for position in range(max_length):
        predicted = state.step(newest)
        if newest.shape != start.shape:
            predicted = predicted.expand(-1, start.shape[1], -1)
            state.reorder(torch.zeros_like(start))
        newest = choose(predicted.detach().clone(), position).masked_fill(ended, special.pad)
        chosen = predicted.gather(-1, newest.unsqueeze(-1)).squeeze(-1)
        tokens.append(newest)
        log_probabilities.append(chosen.masked_fill(ended, 0))
        lengths = lengths + ~ended
        ended = ended | (newest == special.end)
        if ended.all():
            break
    log_probabilities = torch.stack(log_probabilities, dim=-1)
    scores = log_probabilities.detach().sum(-1)
    return Decoded(torch.stack(tokens, dim=-1), lengths, log_probabilities, scores)
