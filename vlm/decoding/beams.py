"""BeamSearch, with the rules of Hugging Face transformers, vectorised over images and beams."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from vlm.decoding.masks import forbid_repetition, forbid_special
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
        tokens = torch.full((batch, 1), special.start, device=device)
        rows = _Rows.empty((batch, 1, self.max_length), score=0.0, device=device)
        finished = _Rows.empty((batch, self.beams, self.max_length), score=-inf, device=device)
        done = torch.zeros(batch, 1, dtype=torch.bool, device=device)
        for position in range(self.max_length):
            last = position + 1 == self.max_length
            divisor = (position + 1) ** self.length_penalty
            best, parents = self._continue(rows, state.step(tokens), position, special)
            ended = (best.tokens[..., position] == special.end) | last
            finished = self._finish(finished, best, ended & ~done, divisor)
            alive = best.scores.masked_fill(ended, -inf)
            scores, chosen = alive.topk(min(self.beams, alive.shape[1]))
            done = done | (scores[:, :1] / divisor <= finished.scores[:, -1:])
            if last or done.all():
                break
            state.reorder(take(parents, chosen))
            rows = best.take(chosen)._replace(scores=scores)
            tokens = rows.tokens[..., position]
        return finished.decoded(special.pad)

    def _continue(
        self, rows: "_Rows", log_probabilities: Tensor, position: int, special: SpecialTokens
    ) -> tuple["_Rows", Tensor]:
        """The best 2K continuations (fewer if no more exist) and the rows they continue."""
        scores = log_probabilities.detach() + rows.scores.unsqueeze(-1)
        forbid_special(scores, special, end=position < self.min_length)
        if self.no_repeat_ngram:
            forbid_repetition(scores, rows.tokens[..., :position], self.no_repeat_ngram)
        scores, index = scores.flatten(1).topk(min(2 * self.beams, scores[0].numel()))
        vocabulary = log_probabilities.shape[-1]
        parents = index // vocabulary
        best = rows.take(parents)._replace(scores=scores)
        best.tokens[..., position] = index % vocabulary
        best.log_probabilities[..., position] = take(log_probabilities.flatten(1), index)
        return best, parents

    def _finish(self, finished: "_Rows", best: "_Rows", ended: Tensor, divisor: float) -> "_Rows":
        """The best K of those finished before and those that end now among the first K."""
        best = best._replace(scores=(best.scores / divisor).masked_fill(~ended, -inf))
        pairs = zip(finished, best, strict=True)
        pool = _Rows(*(torch.cat([old, new[:, : self.beams]], dim=1) for old, new in pairs))
        return pool.take(pool.scores.topk(self.beams).indices)


class _Rows(NamedTuple):
    """M sequences for each image of a beam search; tokens not chosen yet are -1."""

    scores: Tensor  # (B, M) sum of log-probabilities, or what a finished sequence scores
    tokens: Tensor  # (B, M, max_length)
    log_probabilities: Tensor  # (B, M, max_length)

    @classmethod
    def empty(cls, shape: tuple[int, int, int], *, score: float, device: torch.device) -> "_Rows":
        return cls(
            scores=torch.full(shape[:2], score, device=device),
            tokens=torch.full(shape, -1, device=device),
            log_probabilities=torch.zeros(shape, device=device),
        )

    def take(self, index: Tensor) -> "_Rows":
        return _Rows(*(take(field, index) for field in self))

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
