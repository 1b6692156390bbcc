"""BLEU-1 to BLEU-4 of captions, of each image and of the corpus (Papineni et al., 2002)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlm.metrics.ngrams import MAX_ORDER, CorpusNgrams, Integers, Order

# COCO scoring keeps ratios of empty captions finite with these two.
_TINY = 1e-15
_SMALL = 1e-9


class BleuScores(NamedTuple):
    """Four scores each, BLEU-1 first, in [0, 1].

    Attributes:
        corpus: From the matches and lengths of all images added up.
        per_image: One row of four an image.
    """

    corpus: list[float]
    per_image: list[list[float]]


class BleuStatistics(NamedTuple):
    """What BLEU counts in each image; added up over images, it makes the corpus scores.

    Attributes:
        candidate_lengths: ``(I,)`` in words.
        closest_lengths: ``(I,)`` of the reference closest in length, in words.
        matches: ``(I, 4)`` clipped, of n-grams of 1 to 4 words.
        guesses: ``(I, 4)`` n-grams of the candidate.
    """

    candidate_lengths: Integers
    closest_lengths: Integers
    matches: Integers
    guesses: Integers


def bleu(ngrams: CorpusNgrams) -> BleuScores:
    """Scores every candidate against its image's references.

    The brevity penalty compares with the reference closest in length, the shorter one of two
    equally close, as COCO scoring does.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
    """
    statistics = bleu_statistics(ngrams)
    rows = zip(*(column.tolist() for column in statistics), strict=True)
    totals = (column.sum(axis=0).tolist() for column in statistics)
    return BleuScores(bleu_from_statistics(*totals), [bleu_from_statistics(*row) for row in rows])


def bleu_statistics(ngrams: CorpusNgrams) -> BleuStatistics:
    """Counts what :func:`bleu` scores.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
    """
    lengths = ngrams.candidate_lengths
    matches = np.stack([_clipped_matches(order, len(lengths)) for order in ngrams.orders], axis=1)
    guesses = np.maximum(lengths[:, None] - np.arange(MAX_ORDER), 0)
    return BleuStatistics(lengths, _closest_lengths(ngrams), matches, guesses)


def _closest_lengths(ngrams: CorpusNgrams) -> Integers:
    """``(I,)``: the reference length nearest to each candidate's, the shorter of two."""
    distance = np.abs(ngrams.reference_lengths - ngrams.candidate_lengths[ngrams.image])
    ranked = np.lexsort((ngrams.reference_lengths, distance, ngrams.image))
    first = np.searchsorted(ngrams.image, np.arange(len(ngrams.candidate_lengths)))
    return ngrams.reference_lengths[ranked][first]


def _clipped_matches(order: Order, images: int) -> Integers:
    """``(I,)``: candidate n-grams, each counted at most as often as in its best reference."""
    found = order.match >= 0
    best = np.zeros_like(order.candidates.occurrences)
    np.maximum.at(best, order.match[found], order.references.occurrences[found])
    clipped = np.minimum(best, order.candidates.occurrences)
    return np.bincount(order.candidates.sentence, clipped, minlength=images).astype(np.int64)


def bleu_from_statistics(
    length: float, reference: float, matches: Sequence[float], guesses: Sequence[float]
) -> list[float]:
    """BLEU-1 to BLEU-4 from statistics of one image, or of many added up.

    Args:
        length: Of the candidates, in words.
        reference: Length of the closest references, in words.
        matches: Clipped, of n-grams of 1 to 4 words.
        guesses: N-grams of the candidates.
    """
    ratio = (length + _TINY) / (reference + _SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    product, scores = 1.0, []
    for n in range(MAX_ORDER):
        product *= (matches[n] + _TINY) / (guesses[n] + _SMALL)
        scores.append(product ** (1 / (n + 1)) * penalty)
    return scores
