"""DiverseBeamSearch: groups of beams that keep apart, vectorised over images."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from vlm.decoding.beams import Beams, BeamSearch, going_on
from vlm.decoding.search import Rows, Search, run
from vlm.decoding.strategy import Decoded, DecodingState, SpecialTokens, require


@dataclass(frozen=True)
class DiverseBeamSearch(BeamSearch):
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
        beams: rows of each group, at least 1. The paper's B is ``groups * beams``, and one
            row a group served it best.
        groups: searches an image, at least 1; ``groups * beams`` sequences are returned.
        diversity: nats that a word costs, in [0, 100]; the paper found 0.2 to 0.8 to be good.

    Raises:
        InputError: an option is out of its range.
    """

    beams: int = 1
    groups: int = 5
    diversity: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "groups", "of at least 1", holds=self.groups >= 1)
        require(self, "diversity", "in [0, 100]", holds=0 <= self.diversity <= 100)

    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode ``groups * beams`` sequences an image."""
        search = _Groups(self, special, batch=batch, device=device)
        start = torch.full((batch, 1), special.start, device=device)
        return run(search, state, start, max_length=self.max_length).decoded(special.pad)


class _Groups(Search):
    """The groups of each image at work, as searches of their own."""

    def __init__(
        self,
        options: DiverseBeamSearch,
        special: SpecialTokens,
        *,
        batch: int,
        device: torch.device,
    ) -> None:
        self._options = options
        self._searches = _Apart(options, special, searches=batch * options.groups, device=device)
        self.parents = None

    def advance(self, log_probabilities: Tensor, position: int) -> None:
        groups, vocabulary = self._options.groups, log_probabilities.shape[-1]
        several = log_probabilities.shape[1] // groups  # rows of a group; none where all share one
        if not several:
            log_probabilities = log_probabilities.expand(-1, groups, -1)
        self._searches.advance(log_probabilities.reshape(-1, max(several, 1), vocabulary), position)
        self.rows = self._of_images(self._searches.rows)
        self.done = self._searches.done.view(-1, groups).all(dim=1)
        first = torch.arange(groups, device=self.done.device).unsqueeze(1) * several
        parents = self._searches.parents
        assert parents is not None
        self.parents = (parents.view(len(self.done), groups, -1) + first).flatten(1)

    def found(self) -> Rows:
        """The sequences of all groups by their score without cost; missing ones last."""
        rows = self._of_images(self._searches.found())
        lengths = (rows.tokens >= 0).sum(-1).clamp(min=1)
        scores = rows.log_probabilities.sum(-1) / lengths**self._options.length_penalty
        rows = rows._replace(scores=scores.masked_fill(rows.scores == -inf, -inf))
        return rows.take(rows.scores.argsort(dim=-1, descending=True))

    def keep(self, images: Tensor) -> None:
        super().keep(images)
        self._searches.keep(images.repeat_interleave(self._options.groups))

    def _of_images(self, rows: Rows) -> Rows:
        """Rows of each group, ``(S, M)``, as those of each image, ``(B, groups * M)``."""
        return Rows(*(each.unflatten(0, (-1, self._options.groups)).flatten(1, 2) for each in rows))


class _Apart(Beams):
    """Searches of which some are groups of one image and choose one after the other."""

    _options: DiverseBeamSearch

    def _choose(self, ranks: Tensor) -> tuple[Tensor, Tensor]:
        """The best continuations of each search when those of the groups before have their cost."""
        vocabulary, beams, groups = ranks.shape[-1], self._options.beams, self._options.groups
        most = min(2 * beams, ranks[0].numel())
        ranks, done = ranks.unflatten(0, (-1, groups)), self.done.view(-1, groups)
        cost = ranks.new_zeros(len(ranks), 1, vocabulary)
        scores, places = [], []
        for group in range(groups):
            best, place = (ranks[:, group] - cost).flatten(1).topk(most)
            tokens = place % vocabulary
            alive, chosen = going_on(best, tokens == self._special.end, beams)
            counted = (alive > -inf) & ~done[:, group : group + 1]
            cost[:, 0].scatter_add_(1, tokens.gather(1, chosen), self._options.diversity * counted)
            scores.append(best)
            places.append(place)
        return torch.stack(scores, dim=1).flatten(0, 1), torch.stack(places, dim=1).flatten(0, 1)
