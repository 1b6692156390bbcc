"""Deletion and insertion curves: whether the regions of a map are those that the word hangs on.

Petsiuk et al. 2018 (RISE, arXiv:1806.07421). Regions are taken away in the order of a word's map,
the most attended first, and the word's probability is watched; or they are given back in that
order. A good map makes it fall early, and rise early. Regions are masked at the input of the
encoder, as occlusion does; one always stays, for a model cannot look at nothing.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vlm.errors import InputError
from vlm.explain.maps import explain, reduced
from vlm.explain.occlusion import masked_log_probabilities
from vlm.explain.passages import Passage
from vlm.metrics.grounding import area_under

STEPS = 8
ORDERS = 3  # that the baseline is the mean of
BY_CHANCE = "by chance"
HEADER = f"{'':16}{'deletion':>10}{'insertion':>10}"


class Areas(NamedTuple):
    """Areas under both curves, means of words, in [0, 1]; NaN where there is no word.

    Attributes:
        deletion: the lower the better the map.
        insertion: the higher the better the map.
    """

    deletion: float
    insertion: float


class Curve(NamedTuple):
    """What became of every word while regions went.

    Attributes:
        removed: ``(S,)`` in [0, 1), the share of regions that are gone at each step.
        heights: ``(word, S)`` in [0, 1], the word's probability as a share of that over the
            whole image; 1 at most, so that a word which was hardly likely at all does not
            outweigh the others.
    """

    removed: NDArray[np.float64]
    heights: NDArray[np.float64]

    @property
    def areas(self) -> NDArray[np.float64]:
        """``(word,)`` in [0, 1], the area under each word's curve, over the width that it has."""
        if len(self.removed) < 2:
            return self.heights.mean(axis=1)
        return area_under(self.heights, self.removed)

    @property
    def area(self) -> float:
        """The mean of words; NaN where there is none."""
        return float(self.areas.mean()) if len(self.heights) else float("nan")


def deletion(passage: Passage, rows: NDArray, *, steps: int = STEPS, seed: int = 0) -> Curve:
    """The curve of a map whose most attended regions go first; the lower the better the map.

    Args:
        passage: whose words they are.
        rows: ``(word, region)``, the higher the earlier; ties are ordered by chance.
        steps: in which the regions go, fewer where there are fewer regions.
        seed: of ties.

    Raises:
        InputError: if there is less than one step.
    """
    if steps < 1:
        raise InputError(f"a curve needs 1 step or more, got {steps}")
    places = np.flatnonzero(passage.real.cpu().numpy())
    ordered = np.asarray(rows, dtype=float)[:, places]
    ties = np.random.default_rng(seed).random(len(places))  # one order for all words
    order = np.lexsort((np.broadcast_to(ties, ordered.shape), -ordered), axis=-1)
    ranks = np.argsort(order, axis=-1)  # 0 for what goes first
    gone = np.unique(np.linspace(0, len(places) - 1, steps + 1).round().astype(int))
    kept = np.zeros((len(ordered), len(gone), len(passage.real)), dtype=bool)
    kept[..., places] = ranks[:, None, :] >= gone[:, None]
    return Curve(gone / len(places), _heights(passage, kept))


def insertion(passage: Passage, rows: NDArray, *, steps: int = STEPS, seed: int = 0) -> Curve:
    """The curve of a map whose most attended regions come first; the higher the better the map.

    It is read from right to left: the least attended go first, so that what is there at each
    step are the most attended ones.

    Raises:
        InputError: if there is less than one step.
    """
    return deletion(passage, -np.asarray(rows, dtype=float), steps=steps, seed=seed)


def chance(passage: Passage, *, steps: int = STEPS, orders: int = ORDERS, seed: int = 0) -> Curve:
    """The mean curve of random orders: what a map that tells nothing gets, both ways.

    Raises:
        InputError: if there is less than one step.
    """
    even = np.zeros((len(passage.words), len(passage.real)))
    several = [deletion(passage, even, steps=steps, seed=seed + index) for index in range(orders)]
    return Curve(several[0].removed, np.mean([one.heights for one in several], axis=0))


def scored(passage: Passage, reductions: Sequence[str]) -> dict[str, Areas]:
    """Areas of every reduction's map of a passage, and of an order by chance under `BY_CHANCE`."""
    areas, weights = {}, explain(passage).weights
    for name in reductions:
        rows = reduced(passage, weights, name)
        areas[name] = Areas(deletion(passage, rows).area, insertion(passage, rows).area)
    by_chance = chance(passage).area
    return areas | {BY_CHANCE: Areas(by_chance, by_chance)}


def ranking(passages: Sequence[Mapping[str, Areas]]) -> dict[str, Areas]:
    """Mean areas of passages, the reduction with the lowest deletion first.

    Args:
        passages: what :func:`scored` gave for each; those that have no word are not counted.
    """
    counted = [areas for areas in passages if not any(map(isnan, areas[BY_CHANCE]))]
    means = {}
    for name in counted[0] if counted else ():
        columns = zip(*(areas[name] for areas in counted), strict=True)
        means[name] = Areas(*map(fmean, columns))
    return dict(sorted(means.items(), key=lambda item: item[1].deletion))


def table(ranked: Mapping[str, Areas]) -> str:
    """A ranking for people."""
    rows = (f"{name:16}{of.deletion:10.3f}{of.insertion:10.3f}" for name, of in ranked.items())
    return "\n".join([HEADER, *rows])


def _heights(passage: Passage, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities of words over parts of the image, as shares of those over the whole.

    Args:
        passage: whose words they are.
        kept: ``(word, step, region)``; at the first step all real regions.

    Returns:
        ``(word, step)`` in [0, 1].
    """
    if not len(kept):
        return np.ones(kept.shape[:2])
    masks = torch.from_numpy(kept.reshape(-1, kept.shape[-1])).to(passage.real.device)
    distinct, back = torch.unique(masks, dim=0, return_inverse=True)
    likely = masked_log_probabilities(passage, distinct)[back].cpu().double().numpy()
    words, steps = kept.shape[:2]
    own = likely.reshape(words, steps, likely.shape[1])[np.arange(words), :, list(passage.targets)]
    return np.exp(np.minimum(own - own[:, :1], 0))
