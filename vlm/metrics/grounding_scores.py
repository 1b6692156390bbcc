"""Scores of maps over many images and under many reductions, beside the ceiling and baselines.

All reductions of an image are scored as one array. The ceiling is an oracle's map; the baselines
are an even map, a Gaussian at the centre, and the same maps shuffled: a word's object met by the
maps of other images, in their own regions.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm.formats.word_maps import WordMaps, reduced_weights
from vlm.metrics.grounding import (
    Floats,
    Targets,
    central,
    entropy,
    mass_in_mask,
    oracle,
    peaks,
    uniform,
)
from vlm.metrics.nouns import Mention, Word
from vlm.metrics.resampling import mean_intervals

SCORES = ("pointing by region", "pointing by centre", "mass in mask", "size-free mass")
FIXED = ("uniform", "centre", "ceiling")  # maps that look at no image
SHUFFLES = 5  # other images that a word's object is met by
SAMPLES = 1000  # of the bootstrap
SEED = 0


class _Looks(NamedTuple):
    """One text's maps: what of them other images meet, and their own scores.

    Attributes:
        boxes: ``(N, 4)``.
        words: ``S`` of them.
        targets: of the words in the boxes.
        peaks: ``(P, N)``, the mean over words of where each reduction points.
        maps: ``(P, N)``, the mean over words.
        values: ``(S, P + 3, 5)``: scores and entropy of the reductions and of ``FIXED``.
    """

    boxes: Floats
    words: list[Word]
    targets: Targets
    peaks: Floats
    maps: Floats
    values: Floats


def reduced(maps: WordMaps, mentions: Sequence[Mention]) -> dict[str, Floats]:
    """``(S, N)`` maps of what a text names, under its own reduction and all that weights give.

    Several words of a name have the mean of their maps.

    Args:
        maps: of the text.
        mentions: ``S`` of them.
    """
    shares = np.zeros((len(mentions), len(maps.words)))
    for row, mention in enumerate(mentions):
        shares[row, list(mention.places)] = 1 / len(mention.places)
    own = {maps.reduction: shares @ maps.map}
    found = own | reduced_weights(shares @ maps.weights) | own
    return {name: rows / rows.sum(axis=-1, keepdims=True) for name, rows in found.items()}


class GroundingScores:
    """Gathers texts with their maps, then tells what each reduction is worth.

    Args:
        reductions: their names, ``P`` of them.
    """

    def __init__(self, reductions: Sequence[str]) -> None:
        self._reductions = list(reductions)
        self._looks: dict[Hashable, list[_Looks]] = {}

    def add(self, image: Hashable, boxes: NDArray, maps: NDArray, words: Sequence[Word]) -> Floats:
        """Scores one text; an image may have several.

        Args:
            image: its id.
            boxes: ``(N, 4)`` of its regions, as x0 y0 x1 y1 in [0, 1].
            maps: ``(P, S, N)`` of each word under each reduction, the rows summing to 1.
            words: ``S`` of them, at least one.

        Returns:
            ``(P, S, 5)``: of each reduction and word the `SCORES` and the entropy.
        """
        targets = Targets.of([word.mask for word in words], boxes)
        everyone = (len(words), len(boxes))
        fixed = [np.broadcast_to(of(boxes), everyone) for of in (uniform, central)]
        rows = np.concatenate([maps, np.stack([*fixed, oracle(targets)])])
        tops = peaks(rows)
        values = np.stack([*_scored(tops, rows, targets), entropy(rows, boxes)], axis=-1)
        own = len(self._reductions)
        looks = _Looks(
            np.asarray(boxes, dtype=float),
            list(words),
            targets,
            tops[:own].mean(axis=1),
            rows[:own].mean(axis=1),
            values.swapaxes(0, 1),
        )
        self._looks.setdefault(image, []).append(looks)
        return values[:own]

    @property
    def words(self) -> list[tuple[Hashable, Word]]:
        """All that was added, with their images."""
        return [(key, word) for key, row in self._texts() for word in row.words]

    @property
    def images(self) -> int:
        """How many images have a word."""
        return len(self._looks)

    def record(self) -> dict[str, dict[str, Any]]:
        """Of each reduction its scores as JSON holds them, over all words and over ``unique``.

        All are means over words. What cannot be told is None: shuffled maps of a single image, and
        everything about unique objects where there is none.
        """
        table = self._table()
        whole = _records(table, self._reductions)
        unique = _records(table.part(table.unique), self._reductions)
        return {name: {**whole[name], "unique": unique[name]} for name in self._reductions}

    def _texts(self) -> list[tuple[Hashable, _Looks]]:
        return [(key, row) for key, rows in self._looks.items() for row in rows]

    def _table(self) -> "_Table":
        looks = self._texts()
        words = [word for _, word in self.words]
        places = {key: place for place, key in enumerate(self._looks)}
        return _Table(
            np.concatenate([row.values for _, row in looks]),
            self._shuffled(),
            np.array([places[key] for key, row in looks for _ in row.words]),
            np.array([word.category for word in words]),
            np.array([word.unique for word in words]),
        )

    def _shuffled(self) -> Floats:
        """``(words, P, 4)``: each word's object met by the maps of other images.

        Images stand in a circle, in an order drawn once; each is met by the next few.
        """
        groups = list(self._looks.values())
        order = np.random.default_rng(SEED).permutation(len(groups)).tolist()
        follower = {key: order[(place + 1) % len(order)] for place, key in enumerate(order)}
        rows = []
        for group, own in enumerate(groups):
            others, other = [], follower[group]
            while other != group and len(others) < SHUFFLES:
                others.append(groups[other])
                other = follower[other]
            rows += [_met_by(looks, others) for looks in own]
        return np.concatenate(rows)


class _Table(NamedTuple):
    """All words: their ``values`` as in `_Looks`, shuffled ones, image, category, uniqueness."""

    values: Floats
    shuffled: Floats
    images: NDArray[np.int_]
    categories: NDArray[np.str_]
    unique: NDArray[np.bool_]

    def part(self, chosen: NDArray[np.bool_]) -> "_Table":
        """The words that are chosen."""
        return _Table(
            self.values[chosen],
            self.shuffled[chosen],
            self.images[chosen],
            self.categories[chosen],
            self.unique[chosen],
        )


def _scored(tops: Floats, maps: Floats, targets: Targets) -> list[Floats]:
    """The four `SCORES`, each linear in where a map points or in the map: ``(P, S)`` each."""
    mass = mass_in_mask(maps, targets)
    hits = (tops * (targets.coverage > 0)).sum(axis=-1)
    return [hits, (tops * targets.centres).sum(axis=-1), mass, mass / targets.shares]


def _met_by(looks: _Looks, others: Sequence[Sequence[_Looks]]) -> Floats:
    """``(S, P, 4)`` scores of other images' maps for the objects of one; NaN without others.

    All scores are linear, so that the mean over words, texts and images is scored at once; only
    maps in other regions are apart.
    """
    if not others:
        return np.full((len(looks.words), len(looks.peaks), len(SCORES)), np.nan)
    means: dict[bytes, tuple[Floats, Floats, Floats]] = {}
    for texts in others:
        for other in texts:
            nothing = other.boxes, np.zeros_like(other.peaks), np.zeros_like(other.maps)
            _, tops, maps = means.setdefault(other.boxes.tobytes(), nothing)
            tops += other.peaks / (len(texts) * len(others))
            maps += other.maps / (len(texts) * len(others))
    masks, scores = [word.mask for word in looks.words], []
    for boxes, tops, maps in means.values():
        same = np.array_equal(boxes, looks.boxes)
        targets = looks.targets if same else Targets.of(masks, boxes)
        scores.append(np.stack(_scored(tops[:, None], maps[:, None], targets), axis=-1))
    return np.sum(scores, axis=0).swapaxes(0, 1)


def _records(table: _Table, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each reduction its scores over the words of a table."""
    count = len(table.values)
    if not count:
        nothing = np.full((1, *table.values.shape[1:]), np.nan)
        means, shuffled = nothing[0], nothing[0]
        intervals = np.full((1 + len(SCORES), len(names), 2), np.nan)
    else:
        means, shuffled = table.values.mean(axis=0), table.shuffled.mean(axis=0)
        intervals = _intervals(table, len(names))
    fixed = {name: _named(means[len(names) + place]) for place, name in enumerate(FIXED)}
    categories = sorted(set(table.categories.tolist()))
    by_category = {name: table.values[table.categories == name, :, 0] for name in categories}
    over = means - means[len(names) + FIXED.index("centre")]
    return {
        name: {
            **_named(means[place]),
            "entropy": _number(means[place, len(SCORES)]),
            "ceiling": fixed["ceiling"],
            "baselines": {
                "uniform": fixed["uniform"],
                "centre": fixed["centre"],
                "shuffled": _named(shuffled[place]),
            },
            "interval": _pair(intervals[0, place]),
            "over centre": {
                score: {"points": _number(over[place, row]), "interval": _pair(interval[place])}
                for row, (score, interval) in enumerate(zip(SCORES, intervals[1:], strict=True))
            },
            "words": count,
            "per category": {
                category: {SCORES[0]: float(hits[:, place].mean()), "words": len(hits)}
                for category, hits in by_category.items()
            },
        }
        for place, name in enumerate(names)
    }


def _intervals(table: _Table, own: int) -> Floats:
    """``(1 + 4, P, 2)``: of pointing by region, then of what all scores have over the centre's."""
    _, images = np.unique(table.images, return_inverse=True)
    scores = table.values[..., : len(SCORES)]
    centre = scores[:, own + FIXED.index("centre"), None]
    over = np.moveaxis(scores[:, :own] - centre, -1, 1)  # (words, 4, P)
    rows = np.concatenate([scores[:, None, :own, 0], over], axis=1).reshape(len(scores), -1)
    sums = np.zeros((images.max() + 1, rows.shape[1]))
    np.add.at(sums, images, rows)
    counts = np.bincount(images).astype(float)
    return mean_intervals(sums, counts, samples=SAMPLES, seed=SEED).reshape(-1, own, 2)


def _named(scores: Floats) -> Mapping[str, float | None]:
    return {name: _number(score) for name, score in zip(SCORES, scores.tolist(), strict=False)}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _pair(interval: Floats) -> list[float] | None:
    return None if np.isnan(interval).any() else interval.tolist()
