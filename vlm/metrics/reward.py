"""CIDEr-D of many sampled captions against references counted once: a self-critical reward."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import shown
from vlm.metrics.cider import (
    Common,
    DocumentFrequencies,
    Floats,
    Pairs,
    cider_d_of_pairs,
    inverse_frequencies,
    norms,
)
from vlm.metrics.ngrams import Counts, Integers, Order, Words, count_entries, count_ngrams

_END = np.iinfo(np.int64).max  # after every key, so that a search always ends on one


class CiderDReward:
    """Scores candidates against the references of images that were counted beforehand.

    A call costs what its candidates cost, however many images were counted. 82,783 images of 5
    references (COCO) take about 0.3 GB, and 0.9 GB while they are being counted.

    Args:
        references: The words of each image's references, at least one.
        frequencies: Stored document frequencies; None counts those of these references.

    Raises:
        InputError: There is no image, or one has no reference or one that is a string.
    """

    def __init__(
        self,
        references: Sequence[Sequence[Words]],
        *,
        frequencies: DocumentFrequencies | None = None,
    ) -> None:
        _check_references(references)
        # Stored n-grams get ids too, as candidates may hold some that no reference does.
        others = [()] * len(references) if frequencies is None else [*frequencies.images]
        ngrams = count_ngrams(others, references)
        size = len(references) if frequencies is None else frequencies.corpus_size
        self._numbers = {word: number for number, word in enumerate(ngrams.words)}
        self._lengths = ngrams.reference_lengths
        self._starts = np.searchsorted(ngrams.image, np.arange(len(references) + 1))
        weights = inverse_frequencies(ngrams, frequencies)
        self._orders = [
            _index(order, np.append(weight, math.log(size)), ngrams.image)
            for order, weight in zip(ngrams.orders, weights, strict=True)
        ]

    def score(self, candidates: Sequence[Words], images: Sequence[int]) -> Floats:
        """CIDEr-D of each candidate; equal to :func:`vlm.metrics.cider.cider_d`.

        Args:
            candidates: Words of ``C`` captions, any number of an image.
            images: ``C`` indices of the images whose references they meet.

        Returns:
            ``(C,)`` scores in [0, 10].

        Raises:
            InputError: There is not one image a candidate, no such image, or a candidate is a
                string.
        """
        image = self._checked(candidates, images)
        references, candidate = _ranges(self._starts[image], self._starts[image + 1])
        # From a reference to its pair with a candidate.
        shift = np.searchsorted(candidate, np.arange(len(image))) - self._starts[image]
        lengths = np.array([len(words) for words in candidates], dtype=np.int64)
        words = self._number(candidates)
        sentence = np.repeat(np.arange(len(lengths)), lengths)
        ids, common = np.zeros_like(words), []
        for n, known in enumerate(self._orders, start=1):
            first = np.arange(max(0, len(words) - n + 1))
            first = first[sentence[first] == sentence[first + n - 1]]
            ids[first], distinct = known.look_up(ids[first] << 32 | words[first + n - 1])
            counts = count_entries(sentence[first], ids[first], distinct)
            weight = known.weigh(counts)
            norm = norms(counts.sentence, weight, len(image))[candidate] * known.norms[references]
            common.append(Common(*known.common(counts, weight, image, shift), norm))
        return cider_d_of_pairs(Pairs(candidate, lengths, self._lengths[references], common))

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

    def _checked(self, candidates: Sequence[Words], images: Sequence[int]) -> Integers:
        index, size = np.asarray(images), len(self._starts) - 1
        if index.shape != (len(candidates),):
            raise InputError(
                f"expected the image of each of {len(candidates)} candidates, got "
                f"{' x '.join(map(str, index.shape))} indices: give one a candidate"
            )
        strange = [i for i in index.tolist() if not isinstance(i, int) or not 0 <= i < size]
        if strange:
            raise InputError(
                f"expected images from 0 to {size - 1}, got {shown(strange)}: "
                "give positions in the references of this reward"
            )
        strings = [text for text in candidates if isinstance(text, str)]
        if strings:
            raise InputError(
                f"expected candidates as words, got {shown([*map(repr, strings)])}: split them"
            )
        return index.astype(np.int64)


class _Index(NamedTuple):
    """The n-grams of one length in all references.

    Attributes:
        keys: ``(distinct + 1,)`` ascending, the last an end mark.
        weights: ``(distinct + 1,)`` inverse document frequencies, the last that of all others.
        norms: ``(R,)`` of the tf-idf vectors of the references.
        places: ``(L + 1,)`` ascending, the last an end mark: ``image * distinct + n-gram`` for each
            n-gram in the references of each image.
        starts: ``(L + 1,)`` where the entries of each place begin.
        reference: ``(E,)`` entries by place: the reference,
        occurrences: ``(E,)`` and how often the n-gram stands in it.
    """

    keys: Integers
    weights: Floats
    norms: Floats
    places: Integers
    starts: Integers
    reference: Integers
    occurrences: Integers

    def look_up(self, keys: Integers) -> tuple[Integers, int]:
        """Ids of n-grams, those in no reference numbered after the others; and how many ids."""
        distinct, inverse = np.unique(keys, return_inverse=True)
        ids = np.searchsorted(self.keys, distinct)
        unknown = self.keys[ids] != distinct
        others = int(np.count_nonzero(unknown))
        ids[unknown] = len(self.keys) - 1 + np.arange(others)
        return ids[inverse], len(self.keys) - 1 + others

    def weigh(self, counts: Counts) -> Floats:
        """``(E of candidates,)``: tf-idf."""
        return counts.occurrences * self.weights[np.minimum(counts.ngram, len(self.keys) - 1)]

    def common(
        self, counts: Counts, weight: Floats, image: Integers, shift: Integers
    ) -> tuple[Integers, Floats, Floats]:
        """Pair, weight in the candidate and in the reference of each n-gram that both hold.

        Args:
            counts: In the candidates.
            weight: Of these, tf-idf.
            image: ``(C,)`` of each candidate.
            shift: ``(C,)`` from the number of a reference to that of its pair with the candidate.
        """
        known = np.flatnonzero(counts.ngram < len(self.keys) - 1)
        wanted = image[counts.sentence[known]] * (len(self.keys) - 1) + counts.ngram[known]
        ranked = np.argsort(wanted)  # a search for ascending places is several times faster
        place = np.searchsorted(self.places, wanted[ranked])
        found = self.places[place] == wanted[ranked]
        place, known = place[found], known[ranked][found]
        entry, owner = _ranges(self.starts[place], self.starts[place + 1])
        own = known[owner]
        reference = self.occurrences[entry] * self.weights[counts.ngram[own]]
        return self.reference[entry] + shift[counts.sentence[own]], weight[own], reference


def _index(order: Order, weights: Floats, image: Integers) -> _Index:
    """Indexes the references of a corpus by image and n-gram, in integers as small as can be."""
    sentence, ngram, occurrences = order.references
    place = image[sentence] * len(order.keys) + ngram
    ranked = np.argsort(place, kind="stable")
    places, starts = np.unique(place[ranked], return_index=True)
    return _Index(
        np.append(order.keys, _END),
        weights,
        norms(sentence, occurrences * weights[ngram], len(image)),
        np.append(places, _END),
        _small(np.append(starts, len(place))),
        _small(sentence[ranked]),
        _small(occurrences[ranked]),
    )


def _small(values: Integers) -> Integers:
    return values.astype(np.min_scalar_type(values.max(initial=0)))


def _ranges(starts: Integers, stops: Integers) -> tuple[Integers, Integers]:
    """The members of several ranges one after another, and the range that each is of."""
    sizes = (stops - starts).astype(np.int64)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    before = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) + (starts - before)[owner], owner


def _check_references(references: Sequence[Sequence[Words]]) -> None:
    if not len(references):
        raise InputError("the references hold no image: give captions of at least one")
    empty = [i for i, captions in enumerate(references) if not len(captions)]
    if empty:
        raise InputError(f"images {shown(empty)} have no reference: give each at least one")
    strings = [
        i for i, captions in enumerate(references) if any(isinstance(c, str) for c in captions)
    ]
    if strings:
        raise InputError(f"images {shown(strings)} have strings for references: split into words")
