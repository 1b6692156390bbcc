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
        search = Beams(self, special, searches=batch, device=device)
        start = torch.full((batch, 1), special.start, device=device)
        return run(search, state, start, max_length=self.max_length).decoded(special.pad)


class Beams(Search):
    """Beams at work: rows that go on, and the best of those that have ended.

    Args:
        options: how to search.
        special: which tokens are no words.
        searches: ``S``, each with ``K`` rows; one an image.
        device: of everything.
    """

    def __init__(
        self, options: BeamSearch, special: SpecialTokens, *, searches: int, device: torch.device
    ) -> None:
        shape = (searches, options.beams, options.max_length)
        self.rows = Rows.empty((searches, 1, options.max_length), score=0.0, device=device)
        self.parents = None
        self.done = torch.zeros(searches, dtype=torch.bool, device=device)
        self._finished = Rows.empty(shape, score=-inf, device=device)
        self._options = options
        self._special = special

    def advance(self, log_probabilities: Tensor, position: int) -> None:
        """Continues every search with its best K, and keeps what ends."""
        options, vocabulary = self._options, log_probabilities.shape[-1]
        scores, places = self._choose(self._ranks(log_probabilities, position))
        parents, tokens = places // vocabulary, places % vocabulary
        best = self.rows.take(parents)._replace(scores=scores)
        best.extend(tokens, take(log_probabilities.flatten(1), places), position)
        ended = tokens == self._special.end
        if position + 1 == options.max_length:
            ended = torch.ones_like(ended)
        divisor = (position + 1) ** options.length_penalty
        counted = ended & ~self.done.unsqueeze(1)
        closed = best._replace(scores=(scores / divisor).masked_fill(~counted, -inf))
        self._finished = self._finished.best(closed.first(options.beams))
        scores, chosen = going_on(scores, ended, options.beams)
        self.done = self.done | (scores[:, 0] / divisor <= self._finished.scores[:, -1])
        self.rows = best.take(chosen)._replace(scores=scores)
        self.parents = take(parents, chosen)

    def found(self) -> Rows:
        """The best K that have ended."""
        return self._finished

    def keep(self, images: Tensor) -> None:
        """Goes on with these searches alone."""
        super().keep(images)
        self._finished = self._finished.of(images)

    def _ranks(self, log_probabilities: Tensor, position: int) -> Tensor:
        """``(S, M, V)`` what each search ranks its continuations by."""
        ranks = log_probabilities + self.rows.scores.unsqueeze(-1)
        forbid_special(ranks, self._special, end=position < self._options.min_length)
        if self._options.no_repeat_ngram:
            said = self.rows.tokens[..., :position]
            forbid_repetition(ranks, said, self._options.no_repeat_ngram)
        return ranks

    def _choose(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """The best 2K of ``M * V`` continuations, fewer if no more exist, and their places."""
        return ranks.flatten(1).topk(min(2 * self._options.beams, ranks[0].numel()))


def going_on(scores: Tensor, ended: Tensor, beams: int) -> tuple[Tensor, Tensor]:
    """The best K of continuations ``(S, 2K)`` that do not end: their scores and which they are."""
    return scores.masked_fill(ended, -inf).topk(min(beams, scores.shape[1]))
