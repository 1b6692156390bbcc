"""Questions about images and what people answered: VQA v2 questions and annotations JSON."""

from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.ids import Id, refuse_doubles, shown


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
        InputError: if the file is missing, cut off, of another kind, or has doubled ids.
    """
    rows = _list_of(file, "questions")
    try:
        questions = [Question(row["question_id"], row["image_id"], row["question"]) for row in rows]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a whole VQA questions file ({error!r}); "
            "expected 'questions' with question_id, image_id and question"
        ) from error
    refuse_doubles(file, "question", (question.question_id for question in questions))
    return questions


def read_answers(file: Path) -> list[Answers]:
    """The answers of a VQA v2 annotations file, in its order.

    Raises:
        InputError: if the file is missing, cut off, of another kind, has doubled ids, or a
            question without answers.
    """
    rows = _list_of(file, "annotations")
    try:
        answers = [
            Answers(
                row["question_id"],
                tuple(str(answer["answer"]) for answer in row["answers"]),
                row.get("answer_type") or "",
                row.get("question_type") or "",
            )
            for row in rows
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a whole VQA annotations file ({error!r}); "
            "expected 'annotations' with question_id and answers, each with answer"
        ) from error
    refuse_doubles(file, "question", (row.question_id for row in answers))
    bare = [row.question_id for row in answers if not row.texts]
    if bare:
        raise InputError(f"{file}: questions {shown(bare)} have no answer; give each one or more")
    return answers


def _list_of(file: Path, name: str) -> list[Any]:
    tree = read_json(file)
    rows = tree.get(name) if isinstance(tree, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{file} is not a VQA {name} file; expected a list '{name}' with entries")
    return rows
