"""Answers that a model may give are the frequent or the listed ones, in an order that stays."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.formats.question_sets import read_question_samples
from vlm.text.answer_vocabulary import AnswerVocabulary, FrequentAnswers, ListedAnswers
from vlm.text.answers import answer_vocabulary, soft_targets

ANSWERS = ["Yes", "no", "two", "yes.", "2", "No", "a yes", "red", "no", "the red", "2."]


def test_the_frequent_ones_are_counted_as_normalised():
    # yes, no and 2 are each there three times, in several spellings; red is twice.
    assert FrequentAnswers(min_count=3).choose(ANSWERS) == ("2", "no", "yes")
    assert FrequentAnswers(min_count=2).choose([*ANSWERS, "red", "red"]) == (
        "red",
        "2",
        "no",
        "yes",
    )


@given(st.permutations(ANSWERS), st.integers(1, 3))
def test_the_order_is_that_of_the_answer_vocabulary(answers: list[str], min_count: int):
    chosen = FrequentAnswers(min_count=min_count).choose(iter(answers))
    assert chosen == tuple(answer_vocabulary(ANSWERS, min_count=min_count))


def test_nine_questions_are_the_published_choice():
    assert FrequentAnswers().choose(["a", "cat", *["no"] * 8, *["yes"] * 9]) == ("yes",)


@pytest.mark.parametrize("min_count", [0, -1])
def test_a_count_below_one_is_told(min_count):
    reason = f"^expected min_count of 1 or more questions, got {min_count}$"
    with pytest.raises(InputError, match=reason):
        FrequentAnswers(min_count=min_count)


@pytest.mark.parametrize(("answers", "total"), [([], 0), (["a", "cat", "dog"], 3)])
def test_too_few_questions_are_told(answers, total):
    with pytest.raises(InputError, match=f"no answer belongs to 2 or more of {total} questions: "):
        FrequentAnswers(min_count=2).choose(answers)


def test_listed_answers_are_the_files_whatever_people_answered(tmp_path):
    (tmp_path / "answers.txt").write_text("yes\nno\nT-shirt\n")
    vocabulary: AnswerVocabulary = ListedAnswers(str(tmp_path / "answers.txt"))
    assert vocabulary.choose([]) == vocabulary.choose(ANSWERS) == ("yes", "no", "T-shirt")


@pytest.mark.parametrize(
    ("name", "place", "answer"),
    [
        ("openvqa_answer_dict_3129.json", 9, "no"),
        ("lxmert_trainval_ans2label.json", 2195, "1"),
    ],
)
def test_published_lists_are_chosen_whole(shared, name, place, answer):
    chosen = ListedAnswers(str(shared / "data" / "vqa_answers" / name)).choose(["dog"])
    assert len(chosen) == len(set(chosen)) == 3129
    assert chosen[place] == answer  # as read in the file itself


def test_a_list_that_cannot_be_used_is_told(tmp_path):
    file = tmp_path / "answers.json"
    with pytest.raises(InputError, match=f"^{re.escape(f'file {file} does not exist; ')}"):
        ListedAnswers(str(file)).choose([])
    file.write_text('["yes", 5]')
    with pytest.raises(InputError, match=r"answers\.json: expected text as answer 2, got 5; "):
        ListedAnswers(str(file)).choose([])


def test_a_real_training_set_has_targets_for_most_questions(shared):
    folder = shared / "data" / "vqav2_text"
    samples = read_question_samples(
        folder / "questions_train.json.gz", folder / "annotations_train.json.gz", folder
    )
    asked = [question for sample in samples for question in sample.questions]
    chosen = FrequentAnswers().choose(question.answer for question in asked)
    assert len(asked) == 38438
    assert set(chosen[:2]) == {"yes", "no"}
    known = set(chosen)
    targets = [soft_targets(question.answers, known) for question in asked]
    assert sum(map(bool, targets)) > 0.8 * len(asked)
