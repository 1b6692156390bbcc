"""VQA questions and annotations files are read; each way one can be wrong is told."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.questions import (
    Answers,
    Question,
    read_answers,
    read_object_labels,
    read_questions,
    read_split,
)

VQA = Path(__file__).resolve().parents[1] / "goldens" / "vqa"


def questions() -> dict:
    rows = [
        {"question_id": 420, "image_id": 42, "question": "Is it\u2028red?", "extra": 1},
        {"question_id": 70, "image_id": 7, "question": ""},
    ]
    return {"data_subtype": "test-dev2015", "questions": rows}


def annotations() -> dict:
    rows = [
        {
            "question_id": 420,
            "image_id": 42,
            "answers": [{"answer": "yes", "answer_id": 1}, {"answer": " Yes. "}],
            "answer_type": "yes/no",
            "question_type": "is it",
            "multiple_choice_answer": "yes",
        },
        {"question_id": 70, "answers": [{"answer": "2"}], "question_type": None},
    ]
    return {"annotations": rows}


def written(folder: Path, content: object) -> Path:
    file = folder / "a.json"
    file.write_text(json.dumps(content))
    return file


def test_questions_come_in_the_files_order(tmp_path):
    file = written(tmp_path, questions())
    assert read_questions(file) == [Question(420, 42, "Is it\u2028red?"), Question(70, 7, "")]


def test_answers_come_as_written(tmp_path):
    assert read_answers(written(tmp_path, annotations())) == [
        Answers(420, ("yes", " Yes. "), "yes/no", "is it", "yes"),
        Answers(70, ("2",), "", "", ""),
    ]


def test_the_official_form_is_read():
    # Hand-written set in the official form; its origin is in the folder's README.
    asked = read_questions(VQA / "v2_OpenEnded_mscoco_val2014_questions.json")
    people = read_answers(VQA / "v2_mscoco_val2014_annotations.json")
    assert {row.question_id for row in asked} == {row.question_id for row in people}
    assert {len(row.texts) for row in people} == {10}
    assert {row.answer_type for row in people} == {"yes/no", "number", "other"}


@pytest.mark.parametrize(
    ("content", "split"),
    [(questions(), "test-dev2015"), ({"questions": []}, None), ({"data_subtype": 5}, None)],
)
def test_the_split_is_told_if_there_is_one(tmp_path, content, split):
    assert read_split(written(tmp_path, content)) == split


Change = Callable[[list[dict]], object]
QUESTIONS: dict[str, tuple[Change, str]] = {
    "doubled": (
        lambda rows: rows[1].update(question_id=420),
        " lists question ids more than once: 420; keep one",
    ),
    "no text": (
        lambda rows: rows[1].update(question=None),
        ": expected text as 'question' of entry 2 of 'questions' (question_id 70), got null;",
    ),
    "boolean id": (
        lambda rows: rows[1].update(question_id=True),
        ": expected a whole number or a text as 'question_id' of entry 2 of 'questions' "
        "(image_id 7), got true; correct it",
    ),
    "list as id": (
        lambda rows: rows[0].update(question_id=[4]),
        ": expected a whole number or a text as 'question_id' of entry 1 of 'questions' "
        "(image_id 42), got a list; correct it",
    ),
    "no question": (
        lambda rows: rows[0].pop("question"),
        ": entry 1 of 'questions' (question_id 420) has no 'question'; add it",
    ),
    "none": (
        lambda rows: rows.clear(),
        " has no entry in 'questions'; give a file with entries",
    ),
}
ANSWERS: dict[str, tuple[Change, str]] = {
    "doubled": (
        lambda rows: rows[1].update(question_id=420),
        " lists question ids more than once: 420; keep one",
    ),
    "number as the most given": (
        lambda rows: rows[1].update(multiple_choice_answer=2),
        ": expected text as 'multiple_choice_answer' of entry 2 of 'annotations' "
        "(question_id 70), got 2; correct it",
    ),
    "null": (
        lambda rows: rows[0].update(answers=[{"answer": "a"}, {"answer": None}]),
        ": expected text as 'answer' of entry 2 of the answers to question 420, got null; ",
    ),
    "number": (
        lambda rows: rows[1].update(answers=[{"answer": 2}]),
        ": expected text as 'answer' of entry 1 of the answers to question 70, got 2; correct it",
    ),
    "no answer": (
        lambda rows: rows[1].update(answers=[]),
        ": questions 70 have no answer; give each one or more",
    ),
    "bare texts": (
        lambda rows: rows[1].update(answers=["yes"]),
        ": entry 1 of the answers to question 70 is \"yes\", not an object with 'answer';",
    ),
    "one text": (
        lambda rows: rows[1].update(answers="yes"),
        ": expected a list as 'answers' of entry 2 of 'annotations' (question_id 70), got \"yes\"",
    ),
    "no answers": (
        lambda rows: rows[1].pop("answers"),
        ": entry 2 of 'annotations' (question_id 70) has no 'answers'; add it",
    ),
    "no question_id": (
        lambda rows: rows[0].pop("question_id"),
        ": entry 1 of 'annotations' (image_id 42) has no 'question_id'; add it",
    ),
}


def assert_told(read: Callable[[Path], object], file: Path, reason: str):
    with pytest.raises(InputError, match="^" + re.escape(f"{file}{reason}")) as told:
        read(file)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("kind", QUESTIONS)
def test_wrong_questions_are_told_in_one_sentence(tmp_path, kind):
    change, reason = QUESTIONS[kind]
    content = questions()
    change(content["questions"])
    assert_told(read_questions, written(tmp_path, content), reason)


@pytest.mark.parametrize("kind", ANSWERS)
def test_wrong_answers_are_told_in_one_sentence(tmp_path, kind):
    change, reason = ANSWERS[kind]
    content = annotations()
    change(content["annotations"])
    assert_told(read_answers, written(tmp_path, content), reason)


def test_files_given_the_wrong_way_round_are_told(tmp_path):
    form = "; expected 'questions' with question_id, image_id and question"
    others = "; expected 'annotations' with question_id and answers, each with answer"
    images = {"images": [], "annotations": [{"image_id": 7, "caption": "a dog"}]}
    for read, content, reason in (
        (
            read_answers,
            questions(),
            f" is a VQA questions file, not a VQA annotations file{others}",
        ),
        (read_answers, images, f" is a COCO captions file, not a VQA annotations file{others}"),
        (
            read_questions,
            annotations(),
            f" is a VQA annotations file, not a VQA questions file{form}",
        ),
        (read_questions, [1], f" is a list, not a VQA questions file{form}"),
        (read_questions, None, f" is a single value, null, not a VQA questions file{form}"),
        (read_questions, {"a": 1}, f" has no 'questions'{form}"),
        (read_questions, {"questions": {}}, " has an object as 'questions' and no list"),
    ):
        assert_told(read, written(tmp_path, content), reason)


def test_whole_numbers_with_a_point_are_ids(tmp_path):
    asked, people = questions(), annotations()
    for row in (*asked["questions"], *people["annotations"]):
        row["question_id"] = float(row["question_id"])
    assert [row.question_id for row in read_questions(written(tmp_path, asked))] == [420, 70]
    assert [str(row.question_id) for row in read_answers(written(tmp_path, people))] == [
        "420",
        "70",
    ]
    (tmp_path / "a.jsonl").write_text('{"question_id": 7.0, "label": "no"}')
    assert [*map(str, read_object_labels(tmp_path / "a.jsonl"))] == ["7"]


def test_labels_of_object_questions(tmp_path):
    file = tmp_path / "a.jsonl"
    lines = '{"question_id": 1, "image": "a\u2028.jpg", "label": "yes"}\r\n\n'
    file.write_text(lines + '{"question_id": "2", "label": "no"}\n')
    assert read_object_labels(file) == {1: "yes", "2": "no"}


FORM_OF_LABELS = ', line 1: expected {"question_id": 1, "label": "yes"}, got '


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", " holds no question; give POPE's JSON lines"),
        ('\n{"question_id": 1', ", line 2 is not whole JSON ("),
        ("[1", ", line 1 is not whole JSON ("),
        ('{"question_id": 1}', f"{FORM_OF_LABELS}null as 'label'; correct the line"),
        (
            '{"question_id": [1], "label": "no"}',
            f"{FORM_OF_LABELS}a list as 'question_id'; correct",
        ),
        ("3", f"{FORM_OF_LABELS}3; correct the line"),
        ('{"question_id": 1, "label": "no"}\n' * 2, " lists question ids more than once: 1; keep"),
    ],
)
def test_wrong_labels_are_told_in_one_sentence(tmp_path, lines, reason):
    (tmp_path / "a.jsonl").write_text(lines)
    assert_told(read_object_labels, tmp_path / "a.jsonl", reason)
