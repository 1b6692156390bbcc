"""Answers normalised, counted and made targets: the official programs' outputs, laws, refusals."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.text.answers import (
    answer_vocabulary,
    clean_spaces,
    normalise,
    normalise_mmf,
    respell_words,
    soft_targets,
    strip_punctuation,
    vocabulary_form,
)

GOLDENS = Path(__file__).resolve().parents[1] / "goldens" / "vqa"  # origin: its README
SIGNS = ';/[]"{}()=+\\_-><@`,?!'
ANSWER = st.lists(
    st.sampled_from(
        [*SIGNS, *" .' \n\t:&", "1", "23", "a", "the", "One", "dont", "he's", "ow's'at"]
    )
    | st.characters(max_codepoint=0x24F),
    max_size=11,
).map("".join)


def golden(name: str) -> Any:
    return json.loads((GOLDENS / name).read_text())


def annotations() -> list[dict[str, Any]]:
    return golden("v2_mscoco_val2014_annotations.json")["annotations"]


def test_every_stage_equals_the_official_program():
    rows = golden("expected.json")["normalise"]["rows"]
    assert len(rows) == 1715
    for raw, unpunctuated, done in rows:
        assert strip_punctuation(clean_spaces(raw)) == unpunctuated, raw
        assert respell_words(unpunctuated) == done, raw
        assert normalise(raw) == done, raw


@pytest.mark.parametrize(
    ("raw", "done"),  # by hand from the rules in the module's docstring
    [
        ("a t-shirt -", "tshirt"),
        ("1,000 t-shirts", "1000 tshirts"),
        ("\u0663,\u0664 t-shirts", "\u0663 \u0664 t shirts"),  # no ASCII digits, no thousands
        ("no.1.", "no.1"),
        ("The one\tand\nonly", "1 and only"),
        ("wouldnt've wouldn'tve", "wouldn't've wouldn't've"),
        ("yalld've y'alld've", "yalld've y'all'd've"),  # one apostrophe left out, not two
        ("Ive lets somebody'd", "ive lets somebodyd"),
        ("\u0391\u03a3 \u0130", "\u03b1\u03c3 i"),  # capital alpha and sigma, dotted I
    ],
)
def test_the_official_rules_by_hand(raw: str, done: str):
    assert normalise(raw) == done


@pytest.mark.parametrize(
    ("raw", "done"),  # by hand from the description of MMF's rules
    [
        ("woman's", "woman 's"),
        ("1,000 t-shirts", "1000 t shirts"),
        ("black,white", "blackwhite"),
        ("Really?!", "really"),
        ("what?-is", "what is"),
        ("a None", "0"),
        ("hes", "he's"),
        ("He's", "he 's"),
        ("\u0391\u03a3 \u0130", "\u03b1\u03c2 i\u0307"),  # as Python 3 lowers them
    ],
)
def test_mmf_by_hand(raw: str, done: str):
    assert normalise_mmf(raw) == done


@given(ANSWER)
def test_normalising_twice_is_normalising_once(answer: str):
    once = normalise(answer)
    assert normalise(once) == once
    assert not set(once) & {*SIGNS, "\n", "\t"}
    assert once == " ".join(once.split())


def test_not_so_beyond_32_periods():
    once = normalise("x." * 37)
    assert once.count(".") == 5
    assert normalise(once) == "x" * 37


@given(ANSWER)
def test_spaces_around_change_only_the_form_in_the_vocabulary(answer: str):
    assert normalise(f"\n {answer}\t ") == normalise(answer)
    assert vocabulary_form(clean_spaces(answer)) == normalise(answer)


def test_the_vocabulary_heeds_a_space_at_the_end():
    assert (normalise("x-y- "), vocabulary_form("x-y- ")) == ("x y", "xy")


def test_forms_in_the_vocabulary_equal_compute_softscore():
    rows = golden("soft_targets.json")["preprocess_answer"]
    assert len(rows) == 3261
    assert [vocabulary_form(raw) for raw, _ in rows] == [form for _, form in rows]


@pytest.mark.parametrize("min_count", [2, 9])
def test_vocabulary_and_targets_equal_compute_softscore(min_count: int):
    wanted = golden("soft_targets.json")[f"min_occurrence_{min_count}"]
    rows = annotations()
    chosen = [row["multiple_choice_answer"] for row in rows]
    vocabulary = answer_vocabulary(chosen, min_count=min_count)
    assert sorted(vocabulary) == wanted["vocabulary"]
    targets = {
        str(row["question_id"]): soft_targets([a["answer"] for a in row["answers"]], {*vocabulary})
        for row in rows
    }
    assert targets == wanted["targets"]


def test_nine_questions_are_enough_by_default():
    assert answer_vocabulary(["rare"] * 8 + ["Often."] * 9) == ["often"]


@given(st.lists(st.sampled_from(["Yes", "yes.", "no", "2", "two", "a dog"]), min_size=1), st.data())
def test_vocabulary_hangs_on_no_order(answers: list[str], data: st.DataObject):
    vocabulary = answer_vocabulary(answers, min_count=1)
    assert answer_vocabulary(data.draw(st.permutations(answers)), min_count=1) == vocabulary
    counts = [[*map(normalise, answers)].count(answer) for answer in vocabulary]
    assert counts == sorted(counts, reverse=True)


def test_answers_of_one_count_stand_in_alphabetical_order():
    assert answer_vocabulary(["dog", "cat", "emu", "emu"], min_count=1) == ["emu", "cat", "dog"]


def test_targets_climb_in_steps_and_look_up_raw_answers():
    answers = ["w"] + ["x"] * 2 + ["y"] * 3 + ["z"] * 5 + ["Yes"] * 7
    steps = {"w": 0.3, "x": 0.6, "y": 0.9, "z": 1.0}
    assert soft_targets(answers, {*"wxyz", "yes", "never said"}) == steps
    assert soft_targets([], {"x"}) == {}


def test_a_count_below_one_is_refused():
    with pytest.raises(InputError, match="min_count is 0: expected 1 or more"):
        answer_vocabulary(["x"], min_count=0)


def test_an_empty_vocabulary_is_refused():
    with pytest.raises(InputError, match="no answer belongs to 9 or more of 2 questions: lower"):
        answer_vocabulary(["x", "x"])
    with pytest.raises(InputError, match="of 0 questions"):
        answer_vocabulary([])
