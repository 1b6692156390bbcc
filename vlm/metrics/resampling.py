"""How sure a difference of two systems is: bootstrap and permutation over the same images.

A system is one run or several that differ in their seed; its score is the mean over its runs.
Nothing is scored anew: every image has statistics, and a score is a function of their sums.

- The interval is that of a percentile bootstrap (Koehn, 2004). A resample draws images, the same
  for all runs, and of either system runs, since both could have been others (the crossed
  bootstrap of Owen, 2007). Few runs understate how much runs differ, and one says nothing of it.
- The p-value is that of a paired permutation test (Riezler and Maxwell, 2005), two-sided: an
  image's statistics, averaged over the runs of a system, change sides or stay; of BLEU with several
  runs, the score of the averaged counts is tested. It holds for these runs on other images; how
  other runs would do, the interval tells.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Score = Callable[[Floats, int], Floats]  # (S, C) sums over so many images to (S,) scores

_QUANTILES = (0.025, 0.975)
_CHUNK = 2**20  # numbers drawn at once, 8 MiB
_ROUNDING = 1e-12  # sums in another order are still equal


class Difference(NamedTuple):
    """A score of two systems, in the metric's own units.

    Attributes:
        a: Of system a, the mean over its runs.
        b: Of system b.
        difference: What b has more than a.
        interval: Of the difference, 95 %, the lower end first.
        p_value: In (0, 1]: how often equal systems would differ as much.
    """

    a: float
    b: float
    difference: float
    interval: tuple[float, float]
    p_value: float


def difference(a: Floats, b: Floats, score: Score, *, samples: int, seed: int) -> Difference:
    """The difference of two systems in one score, from what adds up over images.

    Args:
        a: ``(runs, I, C)`` statistics of each image in each run of a system.
        b: The same of the other system, which may have another number of runs.
        score: Of sums over images.
        samples: Resamples of the bootstrap, and permutations.
        seed: Of both.
    """
    images = a.shape[1]
    scores = [np.mean([score(run.sum(0, keepdims=True), images) for run in s]) for s in (a, b)]
    first, second = map(float, scores)
    low, high = np.quantile(_bootstrap(a, b, score, samples, seed), _QUANTILES).tolist()
    p_value = _permute(a.mean(axis=0), b.mean(axis=0), score, samples, seed)
    return Difference(first, second, second - first, (low, high), p_value)


def mean_intervals(sums: Floats, counts: Floats, *, samples: int, seed: int) -> Floats:
    """95 % intervals of means over what images hold several of, words say.

    The percentile bootstrap over images: all columns are of the same resamples, so that one that
    holds the differences of two others is a paired comparison.

    Args:
        sums: ``(I, C)`` of what is averaged, over each image's own.
        counts: ``(I,)`` how many they are; above 0.
        samples: Resamples.
        seed: Of them.

    Returns:
        ``(C, 2)``, the lower end first.
    """
    rng = np.random.default_rng(seed)
    means = []
    for size in _chunks(samples, len(counts)):
        images = _draw(rng, size, len(counts))
        means.append((images @ sums) / (images @ counts)[:, None])
    return np.quantile(np.concatenate(means), _QUANTILES, axis=0).T


def _bootstrap(a: Floats, b: Floats, score: Score, samples: int, seed: int) -> Floats:
    """``(samples,)`` differences, each on other images and runs."""
    rng = np.random.default_rng(seed)
    differences = []
    for size in _chunks(samples, a.shape[1]):
        images = _draw(rng, size, a.shape[1])
        first, second = (_resample(rng, system, images, score) for system in (a, b))
        differences.append(second - first)
    return np.concatenate(differences)


def _resample(rng: np.random.Generator, system: Floats, images: Floats, score: Score) -> Floats:
    """``(S,)`` means over drawn runs, each on images drawn as often as ``(S, I)`` says."""
    scores = np.stack([score(images @ run, images.shape[1]) for run in system], axis=1)
    return (scores * _draw(rng, len(images), len(system))).sum(axis=1) / len(system)


def _draw(rng: np.random.Generator, size: int, items: int) -> Floats:
    """``(size, items)``: how often each item comes in as many draws with replacement."""
    drawn = rng.integers(items, size=(size, items)) + items * np.arange(size)[:, None]
    return np.bincount(drawn.ravel(), minlength=size * items).reshape(size, items).astype(float)


def _permute(a: Floats, b: Floats, score: Score, samples: int, seed: int) -> float:
    """The p-value from ``(I, C)`` statistics; what is observed counts as a permutation."""
    rng = np.random.default_rng(seed)
    sum_a, sum_b = a.sum(axis=0, keepdims=True), b.sum(axis=0, keepdims=True)
    observed = np.abs(score(sum_b, len(a)) - score(sum_a, len(a)))
    count = 0
    for size in _chunks(samples, len(a)):
        moved = rng.integers(2, size=(size, len(a)), dtype=np.int8).astype(float) @ (b - a)
        found = np.abs(score(sum_b - moved, len(a)) - score(sum_a + moved, len(a)))
        count += int(np.count_nonzero(found >= observed - _ROUNDING))
    return (count + 1) / (samples + 1)


def _chunks(samples: int, images: int) -> Iterator[int]:
    """How many samples to draw at once, so that memory is bounded."""
    size = max(1, _CHUNK // images)
    yield from (min(size, samples - start) for start in range(0, samples, size))
