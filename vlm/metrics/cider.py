"""CIDEr and CIDEr-D: agreement in n-grams that other images lack (Vedantam et al., 2015)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vlm.errors import InputError
from vlm.metrics.ngrams import CorpusNgrams, Counts, Integers, Order, Words, count_ngrams
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


def cider_d(ngrams: CorpusNgrams, frequencies: DocumentFrequencies | None = None) -> Floats:
    """CIDEr-D, the score that COCO reports as CIDEr.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
        frequencies: Stored document frequencies; None counts those of this corpus.

    Returns:
        ``(I,)`` scores in [0, 10].
    """
    return weighted_cider_d(ngrams, inverse_frequencies(ngrams, frequencies))


def weighted_cider_d(ngrams: CorpusNgrams, weights: Sequence[Floats]) -> Floats:
    """CIDEr-D under inverse document frequencies already looked up.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
        weights: For 1 to 4 words, of every n-gram by id.

    Returns:
        ``(I,)`` scores in [0, 10].
    """
    return _cider(ngrams, weights, overlap=np.minimum, sigma=_SIGMA)


def cider(ngrams: CorpusNgrams, frequencies: DocumentFrequencies | None = None) -> Floats:
    """CIDEr as first defined: neither clipped nor penalised for a difference in length.

    Args:
        ngrams: The counted corpus; every image has at least one reference.
        frequencies: Stored document frequencies; None counts those of this corpus.

    Returns:
        ``(I,)`` scores in [0, 10].
    """
    weights = inverse_frequencies(ngrams, frequencies)
    return _cider(ngrams, weights, overlap=lambda candidate, _: candidate, sigma=math.inf)


def _cider(
    ngrams: CorpusNgrams,
    weights: Sequence[Floats],
    *,
    overlap: Callable[[Floats, Floats], Floats],
    sigma: float,
) -> Floats:
    orders = zip(ngrams.orders, weights, strict=True)
    cosines = np.mean([_cosines(order, weight, ngrams, overlap) for order, weight in orders], 0)
    # The reference program takes the number of bigrams for the length.
    lengths = np.maximum(ngrams.candidate_lengths - 1, 0)[ngrams.image]
    differences = lengths - np.maximum(ngrams.reference_lengths - 1, 0)
    similarities = cosines * np.exp(-(differences**2) / (2 * sigma**2))
    images = len(ngrams.candidate_lengths)
    references = np.bincount(ngrams.image, minlength=images)
    return _SCALE * np.bincount(ngrams.image, similarities, minlength=images) / references


def _cosines(
    order: Order, weight: Floats, ngrams: CorpusNgrams, overlap: Callable[[Floats, Floats], Floats]
) -> Floats:
    """``(R,)``: similarity of each reference to its candidate in n-grams of one length."""
    candidate = order.candidates.occurrences * weight[order.candidates.ngram]
    reference = order.references.occurrences * weight[order.references.ngram]
    found = order.match >= 0
    shared = overlap(candidate[order.match[found]], reference[found]) * reference[found]
    product = np.bincount(order.references.sentence[found], shared, minlength=len(ngrams.image))
    norm = _norms(order.references, reference, len(ngrams.image))
    norm *= _norms(order.candidates, candidate, len(ngrams.candidate_lengths))[ngrams.image]
    return np.divide(product, norm, out=np.zeros_like(norm), where=norm > 0)


def _norms(counts: Counts, values: Floats, sentences: int) -> Floats:
    return np.sqrt(np.bincount(counts.sentence, values**2, minlength=sentences))


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
