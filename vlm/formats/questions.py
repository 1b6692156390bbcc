"""Questions about images and what people answered: VQA v2 questions and annotations JSON."""

from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_lines
from vlm.formats.fields import Records, are_texts, brief, records
from vlm.formats.ids import Id, as_id, refuse_doubles, shown
from vlm.formats.kinds import ANSWERS, QUESTIONS, require_kind

FORM_OF_QUESTIONS = "expected 'questions' with question_id, image_id and question"
FORM_OF_ANSWERS = "expected 'annotations' with question_id and answers, each with answer"


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
        multiple_choice_answer: the one that most people gave; empty where the file has none.
    """

    question_id: Id
    texts: tuple[str, ...]
    answer_type: str
    question_type: str
    multiple_choice_answer: str = ""


def read_questions(file: Path) -> list[Question]:
    """The questions of a VQA v2 questions file, in its order.

    Raises:
        InputError: if the file is missing, cut off, of another kind, or has doubled ids or a
            question that is no text.
    """
    return questions_of(file, read_json(file))


def questions_of(file: Path, tree: Any) -> list[Question]:
    """Those of a value that a file holds, in the way of :func:`read_questions`."""
    form = FORM_OF_QUESTIONS
    require_kind(file, tree, QUESTIONS, name="questions", sign="question_id", form=form)
    rows = records(file, tree, "questions", form=form)
    keys = _ids(rows)
    texts = rows.texts("question")
    return list(map(Question, keys, rows.ids("image_id"), texts))


def read_answers(file: Path) -> list[Answers]:
    """The answers of a VQA v2 annotations file, in its order.

    Raises:
        InputError: if the file is missing, cut off, of another kind, has doubled ids, or a
            question without answers or with one that is no text.
    """
    tree, form = read_json(file), FORM_OF_ANSWERS
    require_kind(file, tree, ANSWERS, name="annotations", sign="question_id", form=form)
    rows = records(file, tree, "annotations", form=form)
    keys = _ids(rows)
    texts = _answers(file, keys, rows.lists("answers"))
    bare = [key for key, given in zip(keys, texts, strict=True) if not given]
    if bare:
        raise InputError(f"{file}: questions {shown(bare)} have no answer; give each one or more")
    types = (
        [str(row.get(field) or "") for row in rows.rows]
        for field in ("answer_type", "question_type")
    )
    most = [row.get("multiple_choice_answer") for row in rows.rows]
    most = ["" if answer is None else answer for answer in most]
    most = rows.checked_texts("multiple_choice_answer", most)
    return list(map(Answers, keys, texts, *types, most))


def _answers(file: Path, keys: list[Id], groups: list[list[Any]]) -> list[tuple[str, ...]]:
    """The texts of the answers to each question."""
    try:
        texts = [tuple([answer["answer"] for answer in group]) for group in groups]
    except (KeyError, TypeError):
        texts = None
    if texts is not None and are_texts(chain.from_iterable(texts)):
        return texts
    lists = (
        Records(file, f"the answers to question {shown([key])}", group)
        for key, group in zip(keys, groups, strict=True)
    )
    return [tuple(given.texts("answer")) for given in lists]  # the first wrong one is told


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
    pairs: list[tuple[Id, Any]] = []
    for number, row in read_lines(file):
        key = as_id(row.get("question_id")) if isinstance(row, dict) else None
        if key is None or "label" not in row:
            lacks = "label" if key is not None else "question_id"
            got = f"{brief(row.get(lacks))} as '{lacks}'" if isinstance(row, dict) else brief(row)
            raise InputError(
                f'{file}, line {number}: expected {{"question_id": 1, "label": "yes"}}, '
                f"got {got}; correct the line"
            )
        pairs.append((key, row["label"]))
    if not pairs:
        raise InputError(f"{file} holds no question; give POPE's JSON lines")
    refuse_doubles(file, "question", (key for key, _ in pairs))
    return dict(pairs)


def _ids(rows: Records) -> list[Id]:
    """The ids of questions, each one once."""
    if not rows.rows:
        raise InputError(f"{rows.file} has no entry in {rows.name}; give a file with entries")
    keys = rows.ids("question_id")
    refuse_doubles(rows.file, "question", keys)
    return keys
