"""CIDEr-D of many sampled captions against references counted once: a self-critical reward."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlm.metrics.cider import DocumentFrequencies, Floats, inverse_frequencies, weighted_cider_d
from vlm.metrics.ngrams import (
    CorpusNgrams,
    Counts,
    Integers,
    Order,
    Words,
    count_entries,
    count_ngrams,
    match_entries,
)


class CiderDReward:
    """Scores candidates against the references of images that were counted beforehand.

    A call costs what its candidates and their images' references cost, however many images were
    counted. 82,783 images of 5 references (COCO) take about 0.5 GB.

    Args:
        references: The words of each image's references, at least one.
        frequencies: Stored document frequencies; None counts those of these references.
    """

    def __init__(
        self,
        references: Sequence[Sequence[Words]],
        *,
        frequencies: DocumentFrequencies | None = None,
    ) -> None:
        # Stored n-grams get ids too, as candidates may hold some that no reference does.
        others = [()] * len(references) if frequencies is None else [*frequencies.images]
        ngrams = count_ngrams(others, references)
        size = len(references) if frequencies is None else frequencies.corpus_size
        self._numbers = {word: number for number, word in enumerate(ngrams.words)}
        self._lengths = ngrams.reference_lengths
        self._starts = np.searchsorted(ngrams.image, np.arange(len(references) + 1))
        places = np.arange(len(ngrams.image) + 1)
        # One weight more than there are n-grams: that of all others, which no image has.
        self._weights = [
            np.append(weight, math.log(size)) for weight in inverse_frequencies(ngrams, frequencies)
        ]
        self._orders = [
            _Known(order.keys, order.references, np.searchsorted(order.references.sentence, places))
            for order in ngrams.orders
        ]

    def score(self, candidates: Sequence[Words], images: Sequence[int]) -> Floats:
        """CIDEr-D of each candidate; equal to :func:`vlm.metrics.cider.cider_d`.

        Args:
            candidates: Words of ``C`` captions, any number of an image.
            images: ``C`` indices of the images whose references they meet.

        Returns:
            ``(C,)`` scores in [0, 10].
        """
        index = np.asarray(images, dtype=np.int64)
        references, owner = _ranges(self._starts[index], self._starts[index + 1])
        lengths = np.array([len(words) for words in candidates], dtype=np.int64)
        words = self._number(candidates)
        sentence = np.repeat(np.arange(len(lengths)), lengths)
        ids, orders = np.zeros_like(words), []
        for n, known in enumerate(self._orders, start=1):
            first = np.arange(max(0, len(words) - n + 1))
            first = first[sentence[first] == sentence[first + n - 1]]
            ngram, distinct = _look_up(known.keys, ids[first] << 32 | words[first + n - 1])
            ids[first] = ngram
            own = count_entries(sentence[first], ngram, distinct)
            human = known.of(references)
            match = match_entries(own, human, owner, distinct)
            own = own._replace(ngram=np.minimum(own.ngram, len(known.keys)))
            orders.append(Order(own, human, match, known.keys))
        corpus = CorpusNgrams([], owner, lengths, self._lengths[references], orders)
        return weighted_cider_d(corpus, self._weights)

    def _number(self, candidates: Sequence[Words]) -> Integers:
        """Ids of all words, one after another; unknown ones get ids of this call."""
        unknown: dict[str, int] = {}
        numbers, first = self._numbers, len(self._numbers)
        ids = [
            numbers[word] if word in numbers else first + unknown.setdefault(word, len(unknown))
            for words in candidates
            for word in words
        ]
        return np.array(ids, dtype=np.int64)


class _Known(NamedTuple):
    """The n-grams of one length in all references.

    Attributes:
        keys: ``(distinct,)`` ascending.
        counts: In the references, sorted by these.
        starts: ``(R + 1,)`` where the entries of each reference begin.
    """

    keys: Integers
    counts: Counts
    starts: Integers

    def of(self, references: Integers) -> Counts:
        """The counts of some references, renumbered in their order."""
        entries, owner = _ranges(self.starts[references], self.starts[references + 1])
        return Counts(owner, self.counts.ngram[entries], self.counts.occurrences[entries])


def _ranges(starts: Integers, stops: Integers) -> tuple[Integers, Integers]:
    """The members of several ranges one after another, and the range that each is of."""
    sizes = stops - starts
    owner = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) + (starts - before)[owner], owner


def _look_up(keys: Integers, wanted: Integers) -> tuple[Integers, int]:
    """Ids of n-grams by key, those not among ``keys`` numbered after them; and how many ids."""
    if not len(keys):
        return np.unique(wanted, return_inverse=True)[1], max(1, len(wanted))
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    unknown = keys[places] != wanted
    others, number = np.unique(wanted[unknown], return_inverse=True)
    places[unknown] = len(keys) + number
    return places, len(keys) + len(others)
