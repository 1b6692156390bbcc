"""CIDEr and CIDEr-D: agreement in n-grams that other images lack (Vedantam et al., 2015)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm.errors import InputError
from vlm.metrics.ngrams import CorpusNgrams, Integers, Order, Words, count_ngrams
from vlm.metrics.signature import content_hash

Floats = NDArray[np.float64]

_SIGMA = 6.0  # words of difference in length that CIDEr-D forgives
_SCALE = 10.0


@dataclass(frozen=True)
class DocumentFrequencies:
    """In the references of how many images an n-gram stands, counted on some corpus of images.

    Attributes:
        corpus_size: Images of that corpus.
        images: For every n-gram of 1 to 4 words, the number of images; the absent ones have 0.

    Raises:
        InputError: The corpus has no image.
    """

    corpus_size: int
    images: Mapping[tuple[str, ...], int]

    def __post_init__(self) -> None:
        if self.corpus_size < 1:
            raise InputError(
                f"document frequencies of {self.corpus_size} images weigh nothing: "
                "count them on at least one image"
            )

    @classmethod
    def from_references(cls, references: Sequence[Sequence[Words]]) -> "DocumentFrequencies":
        """Counts them on each image's references, given as words."""
        ngrams = count_ngrams([()] * len(references), references)
        images: dict[tuple[str, ...], int] = {}
        for spelled, order in zip(ngrams.spell(), ngrams.orders, strict=True):
            counts = _image_counts(order, ngrams.image)
            images.update(zip(spelled, counts.tolist(), strict=True))
        return cls(len(references), images)

    @cached_property
    def hash(self) -> str:
        """Of what is counted, whatever its order, as a score signature names it."""
        return content_hash([[str(self.corpus_size)], *self.images.items()])


class Common(NamedTuple):
    """The n-grams of one length that both of a pair hold: ``M`` in ``P`` pairs, weighted by tf-idf.

    Attributes:
        pair: ``(M,)`` where it is common.
        candidate: ``(M,)`` its weight in the candidate.
        reference: ``(M,)`` its weight in the reference.
        norm: ``(P,)`` product of the norms of the whole vectors of both.
    """

    pair: Integers
    candidate: Floats
    reference: Floats
    norm: Floats


class Pairs(NamedTuple):
    """``C`` candidates and their references: ``P`` pairs.

    Attributes:
        candidate: ``(P,)`` index of each pair's candidate; every candidate has a pair.
        candidate_lengths: ``(C,)`` in words.
        reference_lengths: ``(P,)`` in words.
        common: What both hold, of 1, 2, 3 and 4 words.
    """

    candidate: Integers
    candidate_lengths: Integers
    reference_lengths: Integers
    common: list[Common]


def cider_d(ngrams: CorpusNgrams, frequencies: DocumentFrequencies | None = None) -> Floats:
    """CIDEr-D, the score that COCO reports as CIDEr.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
        frequencies: Stored document frequencies; None counts those of this corpus.

    Returns:
        ``(I,)`` scores in [0, 10].
    """
    return cider_d_of_pairs(_pairs(ngrams, frequencies))


def cider_d_of_pairs(pairs: Pairs) -> Floats:
    """CIDEr-D of candidates already compared with their references.

    Returns:
        ``(C,)`` scores in [0, 10].
    """
    return _cider(pairs, overlap=np.minimum, sigma=_SIGMA)


def cider(ngrams: CorpusNgrams, frequencies: DocumentFrequencies | None = None) -> Floats:
    """CIDEr as first defined: neither clipped nor penalised for a difference in length.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
        frequencies: Stored document frequencies; None counts those of this corpus.

    Returns:
        ``(I,)`` scores in [0, 10].
    """
    pairs = _pairs(ngrams, frequencies)
    return _cider(pairs, overlap=lambda candidate, _: candidate, sigma=math.inf)


def _cider(pairs: Pairs, *, overlap: Callable[[Floats, Floats], Floats], sigma: float) -> Floats:
    cosines = np.mean([_cosines(common, overlap) for common in pairs.common], 0)
    # The reference program takes the number of bigrams for the length.
    lengths = np.maximum(pairs.candidate_lengths - 1, 0)[pairs.candidate]
    differences = lengths - np.maximum(pairs.reference_lengths - 1, 0)
    similarities = cosines * np.exp(-(differences**2) / (2 * sigma**2))
    candidates = len(pairs.candidate_lengths)
    references = np.bincount(pairs.candidate, minlength=candidates)
    return _SCALE * np.bincount(pairs.candidate, similarities, minlength=candidates) / references


def _cosines(common: Common, overlap: Callable[[Floats, Floats], Floats]) -> Floats:
    """``(P,)``: similarity of each pair in n-grams of one length."""
    shared = overlap(common.candidate, common.reference) * common.reference
    product = np.bincount(common.pair, shared, minlength=len(common.norm))
    return np.divide(product, common.norm, out=np.zeros_like(common.norm), where=common.norm > 0)


def _pairs(ngrams: CorpusNgrams, frequencies: DocumentFrequencies | None) -> Pairs:
    """Each reference of a corpus with the candidate of its image."""
    weights = inverse_frequencies(ngrams, frequencies)
    common = []
    for order, weight in zip(ngrams.orders, weights, strict=True):
        candidate = order.candidates.occurrences * weight[order.candidates.ngram]
        reference = order.references.occurrences * weight[order.references.ngram]
        norm = norms(order.references.sentence, reference, len(ngrams.image))
        own = norms(order.candidates.sentence, candidate, len(ngrams.candidate_lengths))
        norm *= own[ngrams.image]
        found = order.match >= 0
        pair = order.references.sentence[found]
        common.append(Common(pair, candidate[order.match[found]], reference[found], norm))
    return Pairs(ngrams.image, ngrams.candidate_lengths, ngrams.reference_lengths, common)


def norms(sentence: Integers, values: Floats, sentences: int) -> Floats:
    """``(sentences,)``: Euclidean norms of sparse vectors, one a sentence."""
    return np.sqrt(np.bincount(sentence, values**2, minlength=sentences))


def inverse_frequencies(ngrams: CorpusNgrams, stored: DocumentFrequencies | None) -> list[Floats]:
    """For 1 to 4 words ``(distinct,)``: the logarithm of images per image with the n-gram.

    Args:
        ngrams: The counted corpus.
        stored: Document frequencies of another corpus; None counts those of this one.
    """
    if stored is None:
        size = len(ngrams.candidate_lengths)
        counts = [_image_counts(order, ngrams.image) for order in ngrams.orders]
    else:
        size = stored.corpus_size
        counts = [
            np.array([stored.images.get(words, 0) for words in spelled], dtype=np.int64)
            for spelled in ngrams.spell()
        ]
    return [math.log(size) - np.log(np.maximum(count, 1)) for count in counts]


def _image_counts(order: Order, image: Integers) -> Integers:
    """``(distinct,)``: the number of images in whose references each n-gram stands."""
    distinct = max(1, len(order.keys))
    places = np.sort(image[order.references.sentence] * distinct + order.references.ngram)
    places = places[np.diff(places, prepend=-1) > 0]
    return np.bincount(places % distinct, minlength=len(order.keys))
