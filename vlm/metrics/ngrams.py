"""The n-grams of a caption corpus as 64-bit integers, counted once for both BLEU and CIDEr."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = Sequence[str]
Integers = NDArray[np.int64]

MAX_ORDER = 4


class Counts(NamedTuple):
    """How often each n-gram of one length stands in each sentence, zeros left out.

    ``E`` entries, sorted by sentence, then by n-gram.

    Attributes:
        sentence: ``(E,)`` index of the sentence.
        ngram: ``(E,)`` id of the n-gram.
        occurrences: ``(E,)`` at least 1.
    """

    sentence: Integers
    ngram: Integers
    occurrences: Integers


class Order(NamedTuple):
    """The n-grams of one length; candidates and references share their ids.

    Attributes:
        candidates: Counts in the candidates; there is one an image, so a sentence is an image.
        references: Counts in all references, numbered image after image.
        match: ``(E of references,)`` the entry of ``candidates`` with the same n-gram in the same
            image, -1 where that candidate lacks it.
        keys: ``(distinct,)`` by id: the id of the first n - 1 words in the upper 32 bits, of the
            last word in the lower.
    """

    candidates: Counts
    references: Counts
    match: Integers
    keys: Integers


class CorpusNgrams(NamedTuple):
    """The n-grams of a corpus of ``I`` images and ``R`` references.

    Attributes:
        words: Every distinct word, by id.
        image: ``(R,)`` the image of each reference, ascending.
        candidate_lengths: ``(I,)`` in words.
        reference_lengths: ``(R,)`` in words.
        orders: The n-grams of 1, 2, 3 and 4 words.
    """

    words: list[str]
    image: Integers
    candidate_lengths: Integers
    reference_lengths: Integers
    orders: list[Order]

    def spell(self) -> Iterator[list[tuple[str, ...]]]:
        """Yields, for 1 to 4 words, every distinct n-gram by id, as words."""
        shorter: list[tuple[str, ...]] = [()]
        for order in self.orders:
            prefixes, last = order.keys >> 32, order.keys & 0xFFFFFFFF
            pairs = zip(prefixes.tolist(), last.tolist(), strict=True)
            shorter = [(*shorter[prefix], self.words[word]) for prefix, word in pairs]
            yield shorter


def count_ngrams(
    candidates: Sequence[Words], references: Sequence[Sequence[Words]]
) -> CorpusNgrams:
    """Counts every n-gram of 1 to 4 words.

    Args:
        candidates: The words of one candidate an image.
        references: The words of each image's references; images in the same order.
    """
    sentences = [*candidates, *chain.from_iterable(references)]
    lengths = np.array([len(sentence) for sentence in sentences], dtype=np.int64)
    sizes = np.array([len(captions) for captions in references], dtype=np.int64)
    image = np.repeat(np.arange(len(references)), sizes)
    numbers: dict[str, int] = {}
    words = [numbers.setdefault(word, len(numbers)) for word in chain.from_iterable(sentences)]
    split = len(candidates)
    orders = []
    for sentence, ngram, keys in _number_ngrams(np.array(words, dtype=np.int64), lengths):
        end = int(np.searchsorted(sentence, split))
        own = count_entries(sentence[:end], ngram[:end], len(keys))
        human = count_entries(sentence[end:] - split, ngram[end:], len(keys))
        orders.append(Order(own, human, _match(own, human, image, len(keys)), keys))
    return CorpusNgrams(list(numbers), image, lengths[:split], lengths[split:], orders)


def _number_ngrams(
    words: Integers, lengths: Integers
) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Yields for 1 to 4 words: the sentence and the id of every n-gram, and the keys of the ids."""
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    ids = np.zeros_like(words)  # of the n-gram that starts at each word; first the empty one
    for n in range(1, MAX_ORDER + 1):
        last = np.arange(n - 1, len(words))
        last = last[sentence[last - n + 1] == sentence[last]]
        first = last - n + 1
        keys, ngram = np.unique(ids[first] << 32 | words[last], return_inverse=True)
        ids[first] = ngram
        yield sentence[first], ngram, keys


def count_entries(sentence: Integers, ngram: Integers, distinct: int) -> Counts:
    """Counts n-grams of one length, given one by one.

    Args:
        sentence: ``(occurrences,)`` that each one stands in.
        ngram: ``(occurrences,)`` its id, below ``distinct``.
        distinct: Number of ids.
    """
    places, occurrences = np.unique(sentence * distinct + ngram, return_counts=True)
    return Counts(*np.divmod(places, max(1, distinct)), occurrences)


def _match(candidates: Counts, references: Counts, image: Integers, distinct: int) -> Integers:
    places = candidates.sentence * distinct + candidates.ngram
    wanted = image[references.sentence] * distinct + references.ngram
    if not len(places):
        return np.full_like(wanted, -1)
    index = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
    return np.where(places[index] == wanted, index, -1)
