"""Whether answers are as right as they are sure: temperature, reliability, selective answering.

An answer comes with a confidence in [0, 1] and has a VQA accuracy in [0, 1], which is soft: 0, 0.3,
0.6, 0.9 or 1 with ten people. It is calibrated if answers given with a confidence of 0.8 have a
mean accuracy of 0.8. ``N`` is questions and ``G`` is :data:`TEMPERATURES`. Accuracies of
:mod:`vlm.metrics.vqa` are in per cent and are divided by 100 first.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_STEPS = 20  # of the grid, in each direction: a factor of 1.12 each
TEMPERATURES: tuple[float, ...] = tuple(
    10.0 ** (step / _STEPS) for step in range(-_STEPS, _STEPS + 1)
)
"""What a fit chooses from: 41 values from 0.1 to 10, evenly spaced in their logarithm, with 1.

With a grid, the logits over all answers of a large validation set need not be kept: each question
leaves its confidence at each temperature, 41 numbers for some thousands.
"""
_SUREST = 2.0**-24  # what the largest single-precision number below 1 lacks
_ROUNDING = 1e-12  # sums in another order are still equal


class Bin(NamedTuple):
    """Questions whose answers are about as sure.

    Attributes:
        low: Least confidence of the bin, in it.
        high: Greatest confidence, in the next bin unless it is 1.
        count: Questions, at least 1.
        confidence: Their mean confidence.
        accuracy: Their mean accuracy.
    """

    low: float
    high: float
    count: int  # pyright: ignore[reportIncompatibleMethodOverride]  a field, not tuple's method
    confidence: float
    accuracy: float


class Answered(NamedTuple):
    """What is left where unsure answers are withheld; both in [0, 1].

    Attributes:
        coverage: Share of the questions that are answered; 0 without questions.
        accuracy: Mean accuracy of those answered; 0 where none is.
    """

    coverage: float
    accuracy: float


def fit_temperature(confidences: ArrayLike, accuracy: ArrayLike) -> float:
    """The temperature at which confidences fit accuracies best (Guo et al., 2017).

    The best has the lowest mean binary cross-entropy with the soft accuracy (arXiv:1706.04599,
    section 4.2): a proper score, least in expectation where the confidence is the expected
    accuracy. Confidences within 6e-8 of 0 or 1 count as that far from it, so that one surely wrong
    answer does not cost infinitely much. A result at an end of the grid says that the best may lie
    beyond.

    Args:
        confidences: ``(N, G)``, of each question's answer at each of :data:`TEMPERATURES`.
        accuracy: ``(N,)``.

    Returns:
        One of :data:`TEMPERATURES`, of equally good ones the nearest to 1; without questions 1.

    Raises:
        ValueError: The shapes are others, or a number is outside [0, 1].
    """
    sure, right = _shares("confidences", confidences), _shares("accuracy", accuracy)
    wanted = (*right.shape[:1], len(TEMPERATURES))
    if right.ndim != 1 or sure.shape != wanted:
        raise ValueError(
            f"expected confidences (N, {len(TEMPERATURES)}) and accuracy (N,), "
            f"got {sure.shape} and {right.shape}"
        )
    if not len(right):
        return 1.0
    losses = np.array([_cross_entropy(column, right) for column in sure.T])
    best = np.flatnonzero(losses <= losses.min() + _ROUNDING)
    return TEMPERATURES[best[np.abs(best - _STEPS).argmin()]]


def reliability(confidence: ArrayLike, accuracy: ArrayLike, *, bins: int = 10) -> list[Bin]:
    """Accuracy by confidence: what a reliability diagram shows.

    Args:
        confidence: ``(N,)``.
        accuracy: ``(N,)``.
        bins: Of equal width, at least 1.

    Returns:
        By rising confidence, without the empty ones; a confidence of 1 is in the last.

    Raises:
        ValueError: The shapes are others, a number is outside [0, 1], or there is no bin.
    """
    sure, right = _pairs(confidence, accuracy)
    if bins < 1:
        raise ValueError(f"expected at least 1 bin, got {bins}")
    edges = np.arange(bins + 1) / bins
    # By the edges, not by a product: 0.29 * 100 is below 29.
    index = np.searchsorted(edges[1:-1], sure, side="right")
    counts = np.bincount(index, minlength=bins)
    sums = [np.bincount(index, weights=values, minlength=bins) for values in (sure, right)]
    return [
        Bin(
            low=float(edges[i]),
            high=float(edges[i + 1]),
            count=int(counts[i]),
            confidence=float(sums[0][i] / counts[i]),
            accuracy=float(sums[1][i] / counts[i]),
        )
        for i in np.flatnonzero(counts)
    ]


def expected_calibration_error(
    confidence: ArrayLike, accuracy: ArrayLike, *, bins: int = 10
) -> float:
    """How far confidence is from accuracy, mean over questions (Naeini et al., 2015).

    The sum over bins of their share of questions times the distance of their mean confidence from
    their mean accuracy, which is soft. Few questions a bin make it too large.

    Args:
        confidence: ``(N,)``.
        accuracy: ``(N,)``.
        bins: Of equal width, at least 1.

    Returns:
        In [0, 1], 0 being the best; without questions 0.

    Raises:
        ValueError: As of :func:`reliability`.
    """
    found = reliability(confidence, accuracy, bins=bins)
    distances = sum(each.count * abs(each.confidence - each.accuracy) for each in found)
    return distances / max(1, sum(each.count for each in found))


def answered(confidence: ArrayLike, accuracy: ArrayLike, *, threshold: float) -> Answered:
    """What is right where unsure answers are withheld: selective prediction.

    Coverage and accuracy at one threshold are one point of the risk-coverage curve (El-Yaniv and
    Wiener, 2010).

    Args:
        confidence: ``(N,)``.
        accuracy: ``(N,)``.
        threshold: Least confidence of an answer that is given, in [0, 1].

    Raises:
        ValueError: The shapes are others, or a number is outside [0, 1].
    """
    sure, right = _pairs(confidence, accuracy)
    given = right[sure >= _shares("threshold", threshold)]
    return Answered(
        coverage=len(given) / max(1, len(right)),
        accuracy=float(given.sum()) / max(1, len(given)),
    )


def _cross_entropy(confidence: Floats, accuracy: Floats) -> float:
    """Binary, mean over questions, in nats; of ``(N,)`` both."""
    sure = confidence.clip(_SUREST, 1 - _SUREST)
    return float(-(accuracy * np.log(sure) + (1 - accuracy) * np.log1p(-sure)).mean())


def _pairs(confidence: ArrayLike, accuracy: ArrayLike) -> tuple[Floats, Floats]:
    sure, right = _shares("confidence", confidence), _shares("accuracy", accuracy)
    if sure.ndim != 1 or sure.shape != right.shape:
        raise ValueError(
            f"expected confidence (N,) and accuracy (N,), got {sure.shape} and {right.shape}"
        )
    return sure, right


def _shares(name: str, values: ArrayLike) -> Floats:
    """Numbers in double precision, where 1 - 2**-24 is not 1."""
    numbers = np.asarray(values, dtype=np.float64)
    outside = numbers[~((numbers >= 0) & (numbers <= 1))]  # not a number is outside too
    if outside.size:
        raise ValueError(f"expected {name} in [0, 1], got {outside[0]}; divide per cent by 100")
    return numbers
