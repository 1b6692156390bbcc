"""Health of captions: hand-counted cases, real corpora, refusals."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics.health import BAD_ENDINGS, CaptionHealth, health
from vlm.text.ptb import tokenize

WORD = st.sampled_from(["a", "dog", "with", "on", "grass"])
CAPTIONS = st.lists(st.lists(WORD, max_size=5), min_size=1, max_size=7)


def split(*lines: str) -> list[list[str]]:
    return [line.split() for line in lines]


def test_hand_counted():
    captions = split("a dog", "a a dog with a", "two cats", "a dog", "")
    ours = health(captions, vocabulary={"a", "two", "cats"})
    assert ours == CaptionHealth(
        mean_length=11 / 5,
        empty=1 / 5,
        bad_endings=1 / 5,
        repeated_words=1 / 5,
        duplicates=2 / 5,
        unknown_words=4 / 11,
    )


@pytest.mark.parametrize(
    "caption",
    [
        *("a man with a", "a plate of", "a cake on top of", "a dog and", "a man is", "a man who"),
        *("a man sitting at the", "a dog next to", "a person and their", "a giraffe that is"),
    ],
)
def test_cut_off_captions_end_badly(caption: str):
    assert health(split(caption), vocabulary=None).bad_endings == 1.0


@pytest.mark.parametrize(
    "caption",
    [
        *("a man sitting down", "men look on", "people walking by", "a trash can", "a dog in it"),
        *(
            "cows next to each other",
            "a view from behind",
            "a bird flying over",
            "a toilet seat up",
        ),
        *("a woman with a dog behind her", "people standing around", "a girl sits outside"),
    ],
)
def test_whole_captions_do_not(caption: str):
    assert health(split(caption), vocabulary=None).bad_endings == 0.0


def test_captions_of_people_and_of_a_model(shared: Path):
    # The endings were chosen with the captions of people in view: 22 of 25,014 are bad.
    folder = shared / "data" / "coco_val2017"
    with gzip.open(folder / "captions_val2017.json.gz") as file:
        human = tokenize([row["caption"] for row in json.load(file)["annotations"]])
    results = json.loads((folder / "captions_val2017_vinvl_results.json").read_text())
    model = tokenize([row["caption"] for row in results])
    people = health(human, vocabulary=None)
    ours = health(model, vocabulary={word for words in human for word in words})
    assert round(25_014 * people.bad_endings) == 22
    assert round(5000 * ours.bad_endings) == 1  # "... standing next to a mannequin in a"
    assert next(words for words in model if words[-1] in BAD_ENDINGS)[-2:] == ["in", "a"]
    assert ours.unknown_words is not None
    assert ours.unknown_words < 0.001
    # What people wrote, cut off at ten words, as a captioner of ten words would.
    cut = health([words[:10] for words in human if len(words) > 10], vocabulary=None)
    assert cut.bad_endings > 0.3


def test_mean_length_equals_the_agreed_figure(shared: Path):
    golden = json.loads((shared / "goldens" / "misc" / "diversity.json").read_text())
    captions = split(*(line for lines in golden["samples"].values() for line in lines))
    assert health(captions, vocabulary=None).mean_length == golden["mean_length"]


@given(CAPTIONS)
def test_shares_are_shares_and_no_order_matters(captions: list[list[str]]):
    ours = health(captions, vocabulary={"a", "dog"})
    for share in vars(replace(ours, mean_length=0.0)).values():
        assert share is None or 0 <= share <= 1
    assert health(captions[::-1], vocabulary={"a", "dog"}) == ours


@given(CAPTIONS)
def test_twice_the_captions_are_all_duplicates(captions: list[list[str]]):
    once, twice = health(captions, vocabulary=None), health(captions * 2, vocabulary=None)
    assert replace(once, duplicates=1.0) == twice


def test_unknown_words_without_a_vocabulary_or_words():
    assert health(split("a dog"), vocabulary=None).unknown_words is None
    assert health(split(""), vocabulary={"a"}).unknown_words is None
    assert health(split("a dog"), vocabulary=[]).unknown_words == 1.0


def test_no_caption_is_refused():
    with pytest.raises(InputError, match=r"^there are no captions to examine: give"):
        health([], vocabulary=None)


def test_text_is_refused():
    with pytest.raises(InputError, match=r"^caption 0, counted from 0, is the text 'a dog', not"):
        health(["a dog"], vocabulary=None)
