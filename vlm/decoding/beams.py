"""BeamSearch, with the rules of Hugging Face transformers, vectorised over images and beams."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from vlm.decoding.masks import forbid_repetition, forbid_special
from vlm.decoding.search import Rows, Search, run
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, Strategy, require, take


@dataclass(frozen=True)
class BeamSearch(Strategy):
    """The K best sequences found by following the K best beginnings.

    The rules are those of ``generate(num_beams=K, early_stopping=False)`` in Hugging Face
    transformers 5, whose captions and scores it reproduces. Every step ranks all
    continuations of an image's K rows by their summed log-probability and looks at the best
    2K: one that ends is kept as finished if it ranks among the first K, and the best K that
    do not end become the next rows. A finished sequence scores
    ``sum / length ** length_penalty``. An image is done once K sequences are finished and
    its best row, scored at its present length, beats none of them. At ``max_length`` all
    continuations count as ended.

    Attributes:
        beams: K, rows an image and sequences returned, at least 1.
        length_penalty: exponent in [-10, 10]; above 0 favours longer sequences.
        no_repeat_ngram: no run of this many tokens occurs twice; 0 allows every repetition.
        min_length: fewest tokens before the end token, in [0, max_length].
        max_length: most tokens, end included, at least 1.

    Raises:
        InputError: an option is out of its range.
    """

    beams: int = 5
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0
    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        require(self, "beams", "of at least 1", holds=self.beams >= 1)
        require(self, "length_penalty", "in [-10, 10]", holds=-10 <= self.length_penalty <= 10)
        require(self, "no_repeat_ngram", "of at least 0", holds=self.no_repeat_ngram >= 0)
        require(self, "max_length", "of at least 1", holds=self.max_length >= 1)
        allowed = f"in [0, {self.max_length}], the largest being max_length"
        require(self, "min_length", allowed, holds=0 <= self.min_length <= self.max_length)

    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode the ``beams`` best sequences an image."""
        search = _Search(self, special, batch=batch, device=device)
        start = torch.full((batch, 1), special.start, device=device)
        return run(search, state, start, max_length=self.max_length).decoded(special.pad)


class _Search(Search):
    """Beams at work: rows that go on, and the best of those that have ended."""

    def __init__(
        self, options: BeamSearch, special: SpecialTokens, *, batch: int, device: torch.device
    ) -> None:
        length = options.max_length
        self.rows = Rows.empty((batch, 1, length), score=0.0, device=device)
        self.parents = None
        self.done = torch.zeros(batch, dtype=torch.bool, device=device)
        self._finished = Rows.empty((batch, options.beams, length), score=-inf, device=device)
        self._options = options
        self._special = special

    def advance(self, log_probabilities: Tensor, position: int) -> None:
        options = self._options
        divisor = (position + 1) ** options.length_penalty
        best, parents = self._continue(log_probabilities, position)
        ended = best.tokens[..., position] == self._special.end
        if position + 1 == options.max_length:
            ended = torch.ones_like(ended)
        self._finish(best, ended & ~self.done.unsqueeze(1), divisor)
        alive = best.scores.masked_fill(ended, -inf)
        scores, chosen = alive.topk(min(options.beams, alive.shape[1]))
        self.done = self.done | (scores[:, 0] / divisor <= self._finished.scores[:, -1])
        self.rows = best.take(chosen)._replace(scores=scores)
        self.parents = take(parents, chosen)

    def found(self) -> Rows:
        return self._finished

    def keep(self, images: Tensor) -> None:
        self.rows, self._finished = self.rows.of(images), self._finished.of(images)
        self.done = self.done[images]
        self.parents = None if self.parents is None else self.parents[images]

    def _continue(self, log_probabilities: Tensor, position: int) -> tuple[Rows, Tensor]:
        """The best 2K continuations (fewer if no more exist) and the rows they continue."""
        rows, options = self.rows, self._options
        scores = log_probabilities + rows.scores.unsqueeze(-1)
        forbid_special(scores, self._special, end=position < options.min_length)
        if options.no_repeat_ngram:
            forbid_repetition(scores, rows.tokens[..., :position], options.no_repeat_ngram)
        scores, index = scores.flatten(1).topk(min(2 * options.beams, scores[0].numel()))
        vocabulary = log_probabilities.shape[-1]
        parents = index // vocabulary
        best = rows.take(parents)._replace(scores=scores)
        best.tokens[..., position] = index % vocabulary
        best.log_probabilities[..., position] = take(log_probabilities.flatten(1), index)
        return best, parents

    def _finish(self, best: Rows, ended: Tensor, divisor: float) -> None:
        """Keeps the best K of those finished before and those that end now among the first K."""
        best = best._replace(scores=(best.scores / divisor).masked_fill(~ended, -inf))
        beams = self._options.beams
        pairs = zip(self._finished, best, strict=True)
        pool = Rows(*(torch.cat([old, new[:, :beams]], dim=1) for old, new in pairs))
        self._finished = pool.take(pool.scores.topk(beams).indices)
