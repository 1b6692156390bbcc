"""Captions to ids and back, the same for the same captions in any process."""

import copy
import json
import os
import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.text.tokenizer import (
    END,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    BytePairVocabulary,
    CaptionTokenizer,
    WordVocabulary,
)

CAPTIONS = [
    "A dog runs in the park.",
    "The dog, a terrier, runs!",
    "two dogs run in a park",
    "Zwei Hunde laufen über die Straße",
    "a man's t-shirt says \u201chello\u201d at 5 o\u2019clock",
] * 3
WORDS = WordVocabulary(min_count=6)
PIECES = BytePairVocabulary(size=283)
BOTH = pytest.mark.parametrize("vocabulary", [WORDS, PIECES], ids=["words", "pieces"])


def spelt(tokenizer: CaptionTokenizer, text: str) -> str:
    return tokenizer.decode(tokenizer.encode([text], max_length=999)[0])


# --- ids -------------------------------------------------------------------------------------


@BOTH
def test_the_special_tokens_come_first(vocabulary):
    tokenizer = vocabulary.train(CAPTIONS)
    assert (tokenizer.pad, tokenizer.start, tokenizer.end, tokenizer.unknown) == (0, 1, 2, 3)
    assert SPECIAL == (PAD, START, END, UNKNOWN)


def test_ids_of_words_go_by_count_and_then_by_the_alphabet():
    tokenizer = WORDS.train(CAPTIONS)
    # By hand: a 12; the 6, dog 6, in 6, park 6, runs 6; all others 3.
    assert len(tokenizer) == 4 + 6
    assert tokenizer.encode(["a dog in park runs the zebra"], max_length=9) == [
        [1, 4, 5, 6, 7, 8, 9, 3, 2]
    ]


@BOTH
def test_the_definition_is_the_whole_tokenizer(vocabulary):
    tokenizer = vocabulary.train(CAPTIONS)
    again = CaptionTokenizer(json.loads(json.dumps(tokenizer.definition)))
    assert again.definition == tokenizer.definition
    assert len(again) == len(tokenizer)
    ids = tokenizer.encode(CAPTIONS, max_length=13)
    assert again.encode(CAPTIONS, max_length=13) == ids
    assert [again.decode(row) for row in ids] == [tokenizer.decode(row) for row in ids]


@BOTH
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_are_alike(vocabulary, copied):
    tokenizer = vocabulary.train(CAPTIONS)
    again = copied(tokenizer)
    texts = [*CAPTIONS, "a <end> zebra"]
    assert again.definition == tokenizer.definition
    assert again.encode(texts, max_length=13) == tokenizer.encode(texts, max_length=13)


SCRIPT = """
import sys
from vlm.text.tokenizer import BytePairVocabulary, WordVocabulary
captions = sys.stdin.read().split("|")
for vocabulary in (WordVocabulary(min_count=3), BytePairVocabulary(size=340)):
    print(vocabulary.train(captions).definition)
"""


def test_the_same_captions_train_the_same_tokenizer_in_any_process():
    # Many words and pairs of equal count: whatever order they were met in, one is chosen.
    captions = CAPTIONS + [f"x{a}y{b} z{b}" for a in "abcdefgh" for b in "klmnop"] * 3
    command = [sys.executable, "-c", SCRIPT]
    printed = {
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            input="|".join(captions),
            encoding="utf-8",
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(printed) == 1
    words, pieces = printed.pop().splitlines()
    assert "WordLevel" in words
    assert "BPE" in pieces


@BOTH
def test_captions_may_come_from_a_generator(vocabulary):
    from_generator = vocabulary.train(caption for caption in CAPTIONS)
    assert from_generator.definition == vocabulary.train(CAPTIONS).definition


def test_there_is_no_limit_on_words():
    many = [f"w{number}" for number in range(30_011)]
    assert len(WordVocabulary(min_count=1).train(many)) == 4 + 30_011


# --- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Dog, in (the) park!", "a dog in the park"),
        ("A man\u2019s t-shirt - 5 o'clock", "a man's t-shirt 5 o'clock"),
        ("'tis -- the dogs' \u201cpark\u201d...", "tis the dogs park"),
        ("caf\u00e9 \uff41 e\u0301", "caf\u00e9 a \u00e9"),
        ("snake_case a/b x&y", "snake case a b x y"),
        ("\u0939\u093f\u0902 \u5317\u4eac!", "\u0939\u093f\u0902 \u5317\u4eac"),
        ("line\nbreak\ttab\u00a0space", "line break tab space"),
    ],
)
def test_words_are_lower_case_without_punctuation(text, expected):
    assert spelt(WordVocabulary(min_count=1).train([text]), text) == expected


@pytest.fixture(scope="module")
def pieces() -> CaptionTokenizer:
    return PIECES.train(CAPTIONS)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_pieces_spell_any_text_exactly(pieces, text):
    assert spelt(pieces, text) == text.strip()
    assert pieces.unknown not in pieces.encode([text], max_length=999)[0]


def test_unknown_words_have_their_token_and_no_text():
    tokenizer = WORDS.train(CAPTIONS)
    (ids,) = tokenizer.encode(["the zebra runs"], max_length=9)
    assert ids.count(tokenizer.unknown) == 1
    assert ids[2] == tokenizer.unknown
    assert tokenizer.decode(ids) == "the runs"


@BOTH
@pytest.mark.parametrize("token", SPECIAL)
def test_a_caption_cannot_say_a_special_token(vocabulary, token):
    tokenizer = vocabulary.train(CAPTIONS)
    (ids,) = tokenizer.encode([f"a dog {token} runs"], max_length=99)
    assert ids[0] == tokenizer.start
    assert ids[-1] == tokenizer.end
    assert not {tokenizer.pad, tokenizer.start, tokenizer.end} & set(ids[1:-1])
    assert tokenizer.decode(ids).startswith("a dog")
    assert tokenizer.decode(ids).endswith("runs")


@BOTH
def test_a_cut_caption_keeps_its_end(vocabulary):
    tokenizer = vocabulary.train(CAPTIONS)
    (whole,) = tokenizer.encode(["the dog runs in a park"], max_length=99)
    for length in range(2, len(whole) + 1):
        (cut,) = tokenizer.encode(["the dog runs in a park"], max_length=length)
        assert cut == [*whole[: length - 1], tokenizer.end]
    with pytest.raises(InputError, match="max_length is 1; give 2 for start and end, and more"):
        tokenizer.encode(["the dog"], max_length=1)


@BOTH
def test_an_empty_caption_is_start_and_end(vocabulary):
    tokenizer = vocabulary.train(CAPTIONS)
    assert tokenizer.encode(["", "  "], max_length=9)[0] == [tokenizer.start, tokenizer.end]
    assert tokenizer.decode([tokenizer.start, tokenizer.end, tokenizer.pad]) == ""


# --- batches ---------------------------------------------------------------------------------


@BOTH
def test_a_batch_holds_every_caption_padded(vocabulary):
    tokenizer = vocabulary.train(CAPTIONS)
    rows = [["a dog", "the park"], [], ["the dog runs in the park"]]
    tokens = tokenizer.batch(rows, max_length=9)
    alone = [tokenizer.encode(row, max_length=9) for row in rows]
    assert tokens.dtype == np.int64
    assert tokens.shape == (3, 2, max(len(ids) for row in alone for ids in row))
    for image, row in enumerate(alone):
        for caption in range(2):
            ids = row[caption] if caption < len(row) else []
            padded = ids + [tokenizer.pad] * (tokens.shape[2] - len(ids))
            assert tokens[image, caption].tolist() == padded


def test_a_batch_may_be_empty():
    tokenizer = WORDS.train(CAPTIONS)
    assert tokenizer.batch([], max_length=9).shape == (0, 0, 0)
    assert tokenizer.batch([[], []], max_length=9).shape == (2, 0, 0)


# --- words -----------------------------------------------------------------------------------


def test_words_cover_one_token_each():
    tokenizer = WORDS.train(CAPTIONS)
    (ids,) = tokenizer.encode(["The dog zebra runs"], max_length=9)
    assert tokenizer.words([*ids, tokenizer.pad]) == [("the", 1, 2), ("dog", 2, 3), ("runs", 4, 5)]


def test_words_cover_all_their_pieces():
    tokenizer = PIECES.train(CAPTIONS)
    text = "Zebras, \u5317\u4eac run \U0001f415 \u00fcber a man's t-shirt."
    (ids,) = tokenizer.encode([text], max_length=99)
    words = tokenizer.words([*ids, tokenizer.pad, tokenizer.pad])
    assert [word.text for word in words] == text.split()
    assert words[0].start == 1
    assert words[-1].stop == len(ids) - 1
    assert all(a.stop == b.start for a, b in pairwise(words))
    assert max(word.stop - word.start for word in words) > 3
    for word in words:
        assert tokenizer.decode(ids[word.start : word.stop]) == word.text


def test_a_word_never_covers_a_special_token():
    """Not even where a decoder wrote a continuation first, or the unknown token."""
    tokenizer = PIECES.train(CAPTIONS)
    (ids,) = tokenizer.encode(["zebra qq"], max_length=99)
    continued = [
        tokenizer.start,
        *ids[2:4],
        tokenizer.unknown,
        ids[3],
        tokenizer.end,
        tokenizer.pad,
    ]
    words = tokenizer.words(continued)
    assert [(word.start, word.stop) for word in words] == [(1, 3), (4, 5)]


# --- refused ---------------------------------------------------------------------------------


def test_a_definition_that_is_none_is_told():
    with pytest.raises(InputError, match=r"definition cannot be read .*; take another checkpoint$"):
        CaptionTokenizer("{}")


def test_a_strange_tokenizer_is_told():
    definition = WORDS.train(CAPTIONS).definition.replace("<end>", "<fin>")
    with pytest.raises(InputError, match=r"lacks <end>; make it with a vlm vocabulary$"):
        CaptionTokenizer(definition)


@pytest.mark.parametrize("captions", [[], CAPTIONS])
def test_a_vocabulary_without_words_is_told(captions):
    with pytest.raises(InputError, match=r"no word occurs 99 times .*; give more captions"):
        WordVocabulary(min_count=99).train(captions)


def test_a_vocabulary_too_small_for_bytes_is_told():
    with pytest.raises(InputError, match=r"vocabulary of 259 is too small; give 260 or more$"):
        BytePairVocabulary(size=259)
    assert len(BytePairVocabulary(size=260).train(CAPTIONS)) == 260
