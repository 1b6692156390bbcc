"""DiverseBeamSearch: groups of beams that keep apart, vectorised over images."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import torch
from torch import Tensor

from vlm.decoding.masks import forbid_repetition, forbid_special
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, Strategy, require, take


@dataclass(frozen=True)
class DiverseBeamSearch(Strategy):
    """Several beam searches an image, each drawn away from what those before it say.

    Diverse beam search with Hamming diversity (Vijayakumar et al. 2016, arXiv:1610.02424,
    algorithm 1), by the rules of :class:`BeamSearch` within a group. Every step goes from
    group to group; a word costs a group ``diversity`` for each row in which an earlier group
    goes on with it in the same step. A row keeps what it has paid, and so is ranked within
    its group; an end is never paid for, and a group that is done costs the others nothing.

    The sequences of all groups are returned best first by their score without this cost,
    ``sum / length ** length_penalty``; groups may have found the same one. Without diversity
    each group finds what :class:`BeamSearch` does, as does one group with any.

    Attributes:
        groups: searches an image, at least 1; ``groups * beams`` sequences are returned.
        beams: rows of each group, at least 1. The paper's B is ``groups * beams``, and one
            row a group served it best.
        diversity: nats that a word costs, in [0, 100]; the paper found 0.2 to 0.8 to be good.
        length_penalty: exponent in [-10, 10]; above 0 favours longer sequences.
        no_repeat_ngram: no run of this many tokens occurs twice; 0 allows every repetition.
        min_length: fewest tokens before the end token, in [0, max_length].
        max_length: most tokens, end included, at least 1.

    Raises:
        InputError: an option is out of its range.
    """

    groups: int = 5
    beams: int = 1
    diversity: float = 0.5
    length_penalty: float = 1.0
    no_repeat_ngram: int = 0
    min_length: int = 1
    max_length: int = 20

    def __post_init__(self) -> None:
        require(self, "groups", "of at least 1", holds=self.groups >= 1)
        require(self, "beams", "of at least 1", holds=self.beams >= 1)
        require(self, "diversity", "in [0, 100]", holds=0 <= self.diversity <= 100)
        require(self, "length_penalty", "in [-10, 10]", holds=-10 <= self.length_penalty <= 10)
        require(self, "no_repeat_ngram", "of at least 0", holds=self.no_repeat_ngram >= 0)
        require(self, "max_length", "of at least 1", holds=self.max_length >= 1)
        allowed = f"in [0, {self.max_length}], the largest being max_length"
        require(self, "min_length", allowed, holds=0 <= self.min_length <= self.max_length)

    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode ``groups * beams`` sequences an image.

        The groups of an image are searches of their own, ``S = B * groups`` of them; only
        choosing goes through them one after the other.
        """
        searches = batch * self.groups
        rows = _Rows.empty((searches, 1, self.max_length), rank=0.0, device=device)
        finished = _Rows.empty((searches, self.beams, self.max_length), rank=-inf, device=device)
        done = torch.zeros(searches, 1, dtype=torch.bool, device=device)
        first = torch.zeros(self.groups, 1, dtype=torch.long, device=device)  # row of a group
        tokens = torch.full((batch, 1), special.start, device=device)
        for position in range(self.max_length):
            last = position + 1 == self.max_length
            divisor = (position + 1) ** self.length_penalty
            predicted = state.step(tokens)
            if position == 0:  # all groups begin with the one row that was read
                predicted = predicted.expand(-1, self.groups, -1)
            predicted = predicted.reshape(searches, -1, predicted.shape[-1])
            ranks = self._ranks(rows, predicted, position, special)
            chosen = self._choose(ranks, done, special.end)
            parents = chosen.places // predicted.shape[-1]
            best = rows.take(parents).extended(chosen, predicted, position)
            ended = (best.tokens[..., position] == special.end) | last
            finished = self._finish(finished, best, ended & ~done, divisor)
            done = done | (chosen.alive[:, :1] / divisor <= finished.ranks[:, -1:])
            if last or done.all():
                break
            going = take(parents, chosen.going).view(batch, self.groups, -1)
            state.reorder((going + first).flatten(1))
            first = torch.arange(self.groups, device=device).unsqueeze(1) * going.shape[-1]
            rows = best.take(chosen.going)._replace(ranks=chosen.alive)
            tokens = rows.tokens[..., position].view(batch, -1)
        return self._decoded(finished, batch, special.pad)

    def _ranks(
        self, rows: "_Rows", predicted: Tensor, position: int, special: SpecialTokens
    ) -> Tensor:
        """``(S, M, V)`` what each search ranks its continuations by, before they cost."""
        ranks = predicted.detach() + rows.ranks.unsqueeze(-1)
        forbid_special(ranks, special, end=position < self.min_length)
        if self.no_repeat_ngram:
            forbid_repetition(ranks, rows.tokens[..., :position], self.no_repeat_ngram)
        return ranks

    def _choose(self, ranks: Tensor, done: Tensor, end: int) -> "_Chosen":
        """The best continuations of every search, of one group after the other.

        Args:
            ranks: ``(S, M, V)`` of all continuations, before they cost.
            done: ``(S, 1)`` which searches need none.
            end: token that no row goes on with.
        """
        vocabulary = ranks.shape[-1]
        most = min(2 * self.beams, ranks[0].numel())
        ranks, done = ranks.unflatten(0, (-1, self.groups)), done.view(-1, self.groups)
        cost = ranks.new_zeros(len(ranks), 1, vocabulary)
        groups: list[_Chosen] = []
        for group in range(self.groups):
            best, places = (ranks[:, group] - cost).flatten(1).topk(most)
            tokens = places % vocabulary
            alive, going = best.masked_fill(tokens == end, -inf).topk(min(self.beams, most))
            counted = (alive > -inf) & ~done[:, group : group + 1]
            cost[:, 0].scatter_add_(1, tokens.gather(1, going), self.diversity * counted)
            groups.append(_Chosen(best, places, alive, going))
        fields = zip(*groups, strict=True)
        return _Chosen(*(torch.stack(field, dim=1).flatten(0, 1) for field in fields))

    def _finish(self, finished: "_Rows", best: "_Rows", ended: Tensor, divisor: float) -> "_Rows":
        """The best K of those finished before and those that end now among the first K."""
        ranks = (best.ranks / divisor).masked_fill(~ended, -inf)
        best = best._replace(ranks=ranks, scores=best.scores / divisor)
        pairs = zip(finished, best, strict=True)
        pool = _Rows(*(torch.cat([old, new[:, : self.beams]], dim=1) for old, new in pairs))
        return pool.take(pool.ranks.topk(self.beams).indices)

    def _decoded(self, finished: "_Rows", batch: int, pad: int) -> Decoded:
        """The sequences of all groups, best first; those that there are not come last."""
        found = _Rows(*(field.reshape(batch, -1, *field.shape[2:]) for field in finished))
        missing = found.ranks == -inf
        found = found._replace(
            scores=found.scores.masked_fill(missing, -inf),
            tokens=found.tokens.masked_fill(missing.unsqueeze(-1), -1),
            log_probabilities=found.log_probabilities.masked_fill(missing.unsqueeze(-1), 0),
        )
        found = found.take(found.scores.argsort(dim=-1, descending=True))
        lengths = (found.tokens >= 0).sum(-1)
        longest = int(lengths.max())
        return Decoded(
            tokens=found.tokens.masked_fill(found.tokens < 0, pad)[..., :longest],
            lengths=lengths,
            log_probabilities=found.log_probabilities[..., :longest],
            scores=found.scores,
        )


class _Chosen(NamedTuple):
    """The best 2K continuations of each search (fewer if no more exist), and K to go on with."""

    ranks: Tensor  # (S, 2K) their cost paid
    places: Tensor  # (S, 2K) among M * V
    alive: Tensor  # (S, K) ranks of those to go on with, -inf where there are fewer
    going: Tensor  # (S, K) their places among the 2K


class _Rows(NamedTuple):
    """M sequences of each search; tokens not chosen yet are -1."""

    ranks: Tensor  # (S, M) what a search ranks by: its scores, less what their words have cost
    scores: Tensor  # (S, M) sum of log-probabilities, or what a finished sequence scores
    tokens: Tensor  # (S, M, max_length)
    log_probabilities: Tensor  # (S, M, max_length)

    @classmethod
    def empty(cls, shape: tuple[int, int, int], *, rank: float, device: torch.device) -> "_Rows":
        return cls(
            ranks=torch.full(shape[:2], rank, device=device),
            scores=torch.zeros(shape[:2], device=device),
            tokens=torch.full(shape, -1, device=device),
            log_probabilities=torch.zeros(shape, device=device),
        )

    def take(self, index: Tensor) -> "_Rows":
        return _Rows(*(take(field, index) for field in self))

    def extended(self, chosen: _Chosen, predicted: Tensor, position: int) -> "_Rows":
        """The same rows with a token more each, of ``predicted`` ``(S, M, V)``."""
        newest = take(predicted.flatten(1), chosen.places)
        self.tokens[..., position] = chosen.places % predicted.shape[-1]
        self.log_probabilities[..., position] = newest
        return self._replace(ranks=chosen.ranks, scores=self.scores + newest.detach())
