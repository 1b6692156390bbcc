"""Sets of questions that come as one file: JSON lines of our own, VizWiz, TextVQA, GQA."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.formats.fields import brief, is_text
from vlm.formats.ids import Id, as_id, refuse_doubles, shown, who_has
from vlm.formats.kinds import kind_of
from vlm.text.answers import normalise

PEOPLE = 10  # who answer a question of VQA v2, and whom its accuracy is made for
SETS = "VQA v2 (two files), JSON lines (.jsonl), VizWiz, TextVQA or GQA"


class AskedQuestion(NamedTuple):
    """A question about an image, and what people answered to it.

    Attributes:
        question_id: unique in its set.
        text: of the question.
        answers: of people, as written; empty where none are known.
        answer: the one that most people gave, as the file says; else the most common, of
            several the first given; empty without answers.
        answer_type: ``yes/no``, ``number`` or ``other`` in VQA v2; empty where there is none.
        question_type: its first words in VQA v2; empty where there is none.
    """

    question_id: Id
    text: str
    answers: tuple[str, ...]
    answer: str
    answer_type: str
    question_type: str


class Layout(NamedTuple):
    """How a set that comes as one file writes a question.

    Attributes:
        name: of the set, for people.
        unit: what a row of it is called, before its number or id.
        form: of a row, for people.
        fields: that every row has.
        image: the field that tells the image.
        image_name: template of the name of its file; None where the field is that name.
        answers: the field of the answers; rows without it are for prediction.
        people: a list where many answered, a text where one did.
    """

    name: str
    unit: str
    form: str
    fields: tuple[str, ...]
    image: str
    image_name: str | None
    answers: str
    people: type[list[Any]] | type[str]


LINES = Layout(
    name="JSON lines",
    unit="line",
    form='{"image": "a.jpg", "question": "...", "answers": ["..."]}',
    fields=("image", "question"),
    image="image",
    image_name=None,
    answers="answers",
    people=list,
)
VIZWIZ = LINES._replace(
    name="VizWiz",
    unit="question",
    form='{"image": "a.jpg", "question": "...", "answers": [{"answer": "..."}]}',
)
TEXTVQA = Layout(
    name="TextVQA",
    unit="entry",
    form='{"question_id": 1, "image_id": "a", "question": "...", "answers": ["..."]}',
    fields=("question_id", "image_id", "question"),
    image="image_id",
    image_name="{image_id}.jpg",
    answers="answers",
    people=list,
)
GQA = Layout(
    name="GQA",
    unit="question",
    form='{"imageId": "1", "question": "...", "answer": "..."}',
    fields=("imageId", "question"),
    image="imageId",
    image_name="{image_id}.jpg",
    answers="answer",
    people=str,
)

Asked = tuple[Id, AskedQuestion]  # the image's id first
Rows = Sequence[tuple[Id, Any]]  # each with the number or id that its place gives it


def most_given(answers: Sequence[str]) -> str:
    """The answer that most people gave, of several the first given; empty if there is none."""
    counts = Counter(answers)
    return max(counts, key=counts.__getitem__, default="")


def laid_out(file: Path, tree: Any) -> tuple[Layout, Rows]:
    """The layout of a JSON value that a file holds, told by what is in it, and its rows.

    Raises:
        InputError: if it is no set of questions.
    """
    if isinstance(tree, list) and _any_has(tree, VIZWIZ.image):
        return VIZWIZ, list(enumerate(tree))
    if isinstance(tree, dict) and isinstance(tree.get("data"), list):
        return TEXTVQA, list(enumerate(tree["data"], start=1))
    if isinstance(tree, dict) and _any_has(tree.values(), GQA.image):
        return GQA, list(tree.items())
    found = kind_of(tree) or "an object of another kind"
    raise InputError(f"{file} is {found}, not a set of questions; give {SETS}")


def read_rows(file: Path, layout: Layout, rows: Rows) -> list[Asked]:
    """The questions of a set of one file, each with its image.

    The only answer to a question is repeated ten times. The official accuracy counts how many
    of ten people agree; so written it is exact match, 1 for that answer and 0 for others.

    Raises:
        InputError: if there is none, a row is of another form, an id is doubled, or a list of
            answers is empty.
    """
    if not rows:
        raise InputError(f"{file} holds no question; give a file with questions")
    asked = [_read_row(file, layout, number, row) for number, row in rows]
    refuse_doubles(file, "question", (question.question_id for _, question in asked))
    bare = [
        question.question_id
        for (_, question), (_, row) in zip(asked, rows, strict=True)
        if layout.answers in row and not question.answers
    ]
    if bare:
        raise InputError(
            f"{file}: {who_has('question', bare)} an empty list as '{layout.answers}'; give one "
            "answer or more, or leave the field out for prediction"
        )
    return asked


def _read_row(file: Path, layout: Layout, number: Id, row: Any) -> Asked:
    fault = _fault(layout, number, row)
    if fault:
        raise InputError(
            f"{file}, {layout.unit} {shown([number])}: expected {layout.form}, got {fault}; "
            "correct it"
        )
    key, image = as_id(row.get("question_id", number)), as_id(row[layout.image])
    assert key is not None
    assert image is not None
    given = _texts(row.get(layout.answers, []))
    # One answer stands for ten that agree, and those the rules of accuracy never normalise.
    answers = (normalise(given[0]) or given[0],) * PEOPLE if len(given) == 1 else given
    types = (str(row.get(name) or "") for name in ("answer_type", "question_type"))
    return image, AskedQuestion(key, row["question"], answers, most_given(given), *types)


def _fault(layout: Layout, number: Id, row: Any) -> str:
    """What a row has instead of a question about an image; empty if it has one."""
    if not isinstance(row, dict):
        return brief(row)
    lacks = next((field for field in layout.fields if field not in row), None)
    if lacks is not None:
        return f"an object without '{lacks}'"
    given = row.get(layout.answers, layout.people())
    fits = {
        "question": is_text(row["question"]),
        "question_id": as_id(row.get("question_id", number)) is not None,
        layout.image: as_id(row[layout.image]) is not None
        and (layout.image_name is not None or is_text(row[layout.image])),
        layout.answers: isinstance(given, layout.people),
    }
    wrong = next((field for field, fit in fits.items() if not fit), None)
    if wrong is not None:
        return f"{brief(row.get(wrong, number))} as '{wrong}'"
    return next((f"{brief(text)} as an answer" for text in _texts(given) if not is_text(text)), "")


def _texts(given: str | list[Any]) -> tuple[Any, ...]:
    """The answers in a text, a list of texts, or one of objects with them."""
    if isinstance(given, str):
        return (given,)
    return tuple([one.get("answer") if isinstance(one, dict) else one for one in given])


def _any_has(rows: Iterable[Any], field: str) -> bool:
    return any(isinstance(row, dict) and field in row for row in rows)
