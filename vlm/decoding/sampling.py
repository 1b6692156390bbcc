"""Greedy and Sampling: rows that are extended one token at a time and never compared."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from vlm.decoding.masks import forbid_special
from vlm.decoding.search import Rows, Search, run
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, Strategy, require


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

        def most_probable(scores: Tensor, position: int, _images: Tensor) -> Tensor:
            forbid_special(scores, special, end=position < self.min_length)
            return scores.argmax(-1)

        search = _Search(most_probable, special, (batch, 1, self.max_length), device=device)
        start = torch.full((batch, 1), special.start, device=device)
        return run(search, state, start, max_length=self.max_length).decoded(special.pad)


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

        def draw(scores: Tensor, _position: int, images: Tensor) -> Tensor:
            forbid_special(scores, special, end=False)
            best, scores = scores[:, :first].argmax(-1), scores[:, first:] / self.temperature
            scores = _nucleus(_most_probable(scores, self.top_k), self.top_p)
            # Numbers for the images that are done too: what the others get hangs on none of them.
            numbers = torch.rand(batch, self.samples, generator=generator, device=device)
            return torch.cat([best, _drawn(scores.softmax(-1), numbers[images])], dim=1)

        first = int(self.greedy)  # of the rows that are drawn
        shape = (batch, first + self.samples, self.max_length)
        search = _Search(draw, special, shape, device=device)
        start = torch.full((batch, 1), special.start, device=device)
        rows = run(search, state, start, max_length=self.max_length)
        order = first + rows.scores[:, first:].argsort(dim=-1, descending=True)
        order = torch.cat([torch.zeros_like(order[:, :first]), order], dim=1)
        return rows.take(order).decoded(special.pad)


class _Search(Search):
    """Rows at work that are extended and never compared.

    Args:
        choose: from scores ``(B, R, V)`` of its own, the position and the ``(B,)`` images of the
            whole batch that they are of, to tokens ``(B, R)``.
        special: the end that stops a row.
        shape: ``(B, R, max_length)``.
        device: of everything.
    """

    def __init__(
        self,
        choose: Callable[[Tensor, int, Tensor], Tensor],
        special: SpecialTokens,
        shape: tuple[int, int, int],
        *,
        device: torch.device,
    ) -> None:
        self.rows = Rows.empty(shape, score=0.0, device=device)
        self.done = torch.zeros(shape[0], dtype=torch.bool, device=device)
        self.parents = None
        self._ended = torch.zeros(shape[:2], dtype=torch.bool, device=device)
        self._images = torch.arange(shape[0], device=device)
        self._choose = choose
        self._special = special

    def advance(self, log_probabilities: Tensor, position: int) -> None:
        several = self.rows.scores.shape[1]
        predicted = log_probabilities.expand(-1, several, -1)
        chosen = self._choose(predicted.clone(), position, self._images)
        likely = predicted.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        tokens = chosen.masked_fill(self._ended, -1)
        self.rows.extend(tokens, likely.masked_fill(self._ended, 0), position)
        self.rows = self.rows._replace(scores=self.rows.log_probabilities.sum(-1))
        self._ended = self._ended | (chosen == self._special.end)
        self.done = self._ended.all(dim=1)
        branching = log_probabilities.shape[1] < several
        self.parents = torch.zeros_like(chosen) if branching else None

    def found(self) -> Rows:
        return self.rows

    def keep(self, images: Tensor) -> None:
        super().keep(images)
        self._ended, self._images = self._ended[images], self._images[images]


def _drawn(probabilities: Tensor, numbers: Tensor) -> Tensor:
    """The tokens ``(B, R)`` that numbers ``(B, R)`` in [0, 1) fall on, laid one after another.

    One number a row, where :func:`torch.multinomial` draws one a token of the vocabulary.
    """
    heights = probabilities.cumsum(-1)
    whole = heights[..., -1:]
    below = torch.nextafter(whole, torch.zeros_like(whole))
    reached = torch.minimum(numbers.unsqueeze(-1) * whole, below)
    tokens = torch.searchsorted(heights, reached, right=True).squeeze(-1)
    return tokens.clamp(max=probabilities.shape[-1] - 1)  # beyond it where nothing is a number


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
