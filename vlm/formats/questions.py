"""Questions about images and what people answered: VQA v2 questions and annotations JSON."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_text
from vlm.formats.ids import Id, is_id, refuse_doubles, shown


class Question(NamedTuple):
    """A question about an image.

    Attributes:
        question_id: unique in its set.
        image_id: of the image it is about.
        text: of the question.
    """

    question_id: Id
    image_id: Id
    text: str


class Answers(NamedTuple):
    """What people answered to a question.

    Attributes:
        question_id: of the question.
        texts: ten in VQA v2, in the file's order; as written.
        answer_type: ``yes/no``, ``number`` or ``other``; empty where the file has none.
        question_type: its first words, ``what color is the`` say; empty where there are none.
    """

    question_id: Id
    texts: tuple[str, ...]
    answer_type: str
    question_type: str


def read_questions(file: Path) -> list[Question]:
    """The questions of a VQA v2 questions file, in its order.

    Raises:
        InputError: if the file is missing, cut off, of another kind, or has doubled ids or a
            question that is no text.
    """
    rows = _list_of(file, "questions")
    try:
        questions = [Question(row["question_id"], row["image_id"], row["question"]) for row in rows]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a whole VQA questions file ({error!r}); "
            "expected 'questions' with question_id, image_id and question"
        ) from error
    _check_ids(file, [question.question_id for question in questions])
    wrong = [question.question_id for question in questions if not isinstance(question.text, str)]
    if wrong:
        raise InputError(f"{file}: questions {shown(wrong)} are not text; write them as text")
    return questions


def read_answers(file: Path) -> list[Answers]:
    """The answers of a VQA v2 annotations file, in its order.

    Raises:
        InputError: if the file is missing, cut off, of another kind, has doubled ids, or a
            question without answers or with one that is no text.
    """
    rows = _list_of(file, "annotations")
    try:
        answers = [
            Answers(
                row["question_id"],
                tuple(answer["answer"] for answer in row["answers"]),
                str(row.get("answer_type") or ""),
                str(row.get("question_type") or ""),
            )
            for row in rows
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a whole VQA annotations file ({error!r}); "
            "expected 'annotations' with question_id and answers, each with answer"
        ) from error
    _check_ids(file, [row.question_id for row in answers])
    bare = [row.question_id for row in answers if not row.texts]
    if bare:
        raise InputError(f"{file}: questions {shown(bare)} have no answer; give each one or more")
    wrong = [row.question_id for row in answers if not all(isinstance(t, str) for t in row.texts)]
    if wrong:
        raise InputError(
            f"{file}: questions {shown(wrong)} have an answer that is not text; write it as text"
        )
    return answers


def read_split(file: Path) -> str | None:
    """The part of the data that a VQA v2 questions file is of, ``test-dev2015`` say, if it tells.

    Raises:
        InputError: if the file is missing or cut off.
    """
    tree = read_json(file)
    split = tree.get("data_subtype") if isinstance(tree, dict) else None
    return split if isinstance(split, str) else None


def read_object_labels(file: Path) -> dict[Id, str]:
    """The labels of POPE's object questions: JSON lines with question_id and label.

    Raises:
        InputError: if the file is missing, empty, cut off or has doubled ids.
    """
    pairs = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        try:
            row = json.loads(line) if line.strip() else None
            pairs += [] if row is None else [(row["question_id"], row["label"])]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise InputError(
                f'{file}, line {number}: expected {{"question_id": 1, "label": "yes"}}, '
                f"got {line[:60]!r}; correct the line"
            ) from error
    if not pairs:
        raise InputError(f"{file} holds no question; give POPE's JSON lines")
    _check_ids(file, [key for key, _ in pairs])
    return dict(pairs)


def _list_of(file: Path, name: str) -> list[Any]:
    tree = read_json(file)
    rows = tree.get(name) if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not rows:
        got = shown(list(tree)) if isinstance(tree, dict) else "none"
        raise InputError(
            f"{file} is not a VQA {name} file: expected a list '{name}' with entries, "
            f"got the keys {got}; give another file"
        )
    return rows


def _check_ids(file: Path, ids: list[Any]) -> None:
    wrong = [number for number, key in enumerate(ids, start=1) if not is_id(key)]
    if wrong:
        raise InputError(
            f"{file}: the question_id of entries {shown(wrong)} is neither a whole number nor a "
            "text; write one each"
        )
    refuse_doubles(file, "question", ids)
