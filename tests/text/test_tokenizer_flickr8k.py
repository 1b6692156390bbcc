"""Both vocabularies on the 35,000 real captions of Flickr8k."""

from collections import Counter

import pytest

from vlm.formats.captions import read_captions
from vlm.text.tokenizer import BytePairVocabulary, WordVocabulary


@pytest.fixture(scope="module")
def flickr8k(shared) -> dict[str, list[str]]:
    folder = shared / "data/flickr8k"
    return {
        split: [
            caption
            for sample in read_captions(folder / f"annotations/captions_{split}.json", folder)
            for caption in sample.captions
        ]
        for split in ("train", "val")
    }


def test_words_of_real_captions(flickr8k):
    tokenizer = WordVocabulary().train(flickr8k["train"])
    counts = Counter(
        token for ids in tokenizer.encode(flickr8k["val"], max_length=99) for token in ids[1:-1]
    )
    unknown = counts[tokenizer.unknown] / counts.total()
    assert 2500 < len(tokenizer) < 2600  # 2,538 words in Karpathy and Fei-Fei, section 4
    assert unknown < 0.035


def test_pieces_of_real_captions(flickr8k):
    tokenizer = BytePairVocabulary(size=2000).train(flickr8k["train"])
    assert len(tokenizer) == 2000
    texts = flickr8k["val"][:500]
    ids = tokenizer.encode(texts, max_length=99)
    assert [tokenizer.decode(row) for row in ids] == [text.strip() for text in texts]
    for row, text in zip(ids, texts, strict=True):
        assert [word.text for word in tokenizer.words(row)] == text.split()
