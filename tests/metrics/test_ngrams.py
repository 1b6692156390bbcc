"""The integer n-gram counts against plain counting of word tuples."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.metrics.ngrams import count_ngrams

CAPTION = st.lists(st.sampled_from(["a", "dog", "runs", "on"]), max_size=7)
CORPUS = st.lists(st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=3)), max_size=5)


def plain_counts(words: list[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


@settings(deadline=None)
@given(CORPUS)
def test_counts_equal_plain_counting(corpus: list[tuple[list[str], list[list[str]]]]):
    candidates = [candidate for candidate, _ in corpus]
    references = [captions for _, captions in corpus]
    ngrams = count_ngrams(candidates, references)
    flat = [caption for captions in references for caption in captions]
    for n, (order, spelled) in enumerate(zip(ngrams.orders, ngrams.spell(), strict=True), start=1):
        for counts, sentences in ((order.candidates, candidates), (order.references, flat)):
            found = [Counter() for _ in sentences]
            for sentence, ngram, occurrences in zip(*counts, strict=True):
                found[sentence][spelled[ngram]] = int(occurrences)
            assert found == [plain_counts(words, n) for words in sentences]


@settings(deadline=None)
@given(CORPUS)
def test_match_points_at_the_same_ngram_of_the_same_image(corpus):
    ngrams = count_ngrams([pair[0] for pair in corpus], [pair[1] for pair in corpus])
    for order in ngrams.orders:
        image = ngrams.image[order.references.sentence]
        for entry, i, ngram in zip(order.match, image, order.references.ngram, strict=True):
            same = (order.candidates.sentence == i) & (order.candidates.ngram == ngram)
            assert list(np.flatnonzero(same)) == ([entry] if entry >= 0 else [])


def test_a_vocabulary_beyond_sixteen_bits_stays_exact():
    size = 70_001
    words = [str(number) for number in range(size)]
    ngrams = count_ngrams([words], [[words[::-1], words]])
    for n, order in enumerate(ngrams.orders, start=1):
        found = order.match[order.references.sentence == 1]
        assert len(found) == size - n + 1
        assert (found >= 0).all()
    *_, spelled = ngrams.spell()
    assert ("69997", "69998", "69999", "70000") in set(spelled)


def test_no_image():
    ngrams = count_ngrams([], [])
    assert ngrams.words == []
    assert [len(order.match) for order in ngrams.orders] == [0, 0, 0, 0]
