"""Questions about images, one entry an image: VQA v2 and its kin, and sets of one file."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_lines
from vlm.formats.fields import records
from vlm.formats.ids import Id, as_listed, refuse_doubles, shown, who_has
from vlm.formats.image_names import ImageNames
from vlm.formats.question_layouts import (
    LINES,
    PEOPLE,
    Asked,
    AskedQuestion,
    laid_out,
    most_given,
    read_rows,
)
from vlm.formats.questions import Answers, questions_of, read_answers

FORM_OF_IMAGES = "expected 'images' with id and file_name"


class QuestionSample(NamedTuple):
    """An image with what is asked about it.

    Attributes:
        image_id: unique in its set.
        path: of the image file, which need not be there.
        questions: in the file's order; none for an image that is only listed.
    """

    image_id: Id
    path: Path
    questions: tuple[AskedQuestion, ...]


def read_question_samples(
    questions: Path, answers: Path | None, folder: Path, *, image_name: str | None = None
) -> list[QuestionSample]:
    """The images of a set, in the order of their first question, each with all its questions.

    VQA v2 and its kin, OK-VQA say, come as two files: questions, which may also list ``images``
    with id and file_name, and annotations, joined by question_id. Their answers stay as they
    are, however few. Sets of one file are told by what it holds:

    - JSON lines (``.jsonl``, also gzipped): ``{"image": "a.jpg", "question": "...", "answers":
      ["red"]}``, perhaps with ``question_id``, else the line's number, ``answer_type`` and
      ``question_type``.
    - VizWiz; a question's id is its position in the file, from 0.
    - TextVQA and GQA; an image's file is its id with ``.jpg``.

    In these the only answer to a question is repeated ten times, as the files of DAQUAR in
    VQA v2's form have it, so that the official accuracy, made for ten people, is exact match.

    Args:
        questions: file of the questions, or of the whole set.
        answers: file of the annotations that belong to VQA v2's questions; None without answers
            and for sets of one file.
        folder: of the images; see :class:`vlm.formats.image_names.ImageNames`.
        image_name: template of the names of the images' files, with the field ``image_id``, for
            those that the set does not name itself.

    Raises:
        InputError: if a file is missing, cut off, of another kind or superfluous, the two do not
            belong together, an id is doubled, a question has no text or an empty list of
            answers, or the template cannot name the images.
    """
    if questions.name.removesuffix(".gz").endswith(".jsonl"):
        layout, rows = LINES, list(read_lines(questions, by_name=True))
    else:
        tree = read_json(questions, by_name=True)
        if isinstance(tree, dict) and "questions" in tree:
            asked = _read_two(questions, tree, answers)
            names = _listed_names(questions, tree, {image for image, _ in asked})
            return _by_image(questions, asked, names, ImageNames(folder, image_name))
        layout, rows = laid_out(questions, tree)
    if answers is not None:
        raise InputError(
            f"{questions} holds its own answers, as sets of {layout.name} do; leave out {answers}"
        )
    asked = read_rows(questions, layout, rows)
    names = {image: str(image) for image, _ in asked} if layout.image_name is None else {}
    chosen = layout.image_name if image_name is None else image_name
    return _by_image(questions, asked, names, ImageNames(folder, chosen))


def oddities(samples: Iterable[QuestionSample]) -> list[str]:
    """What is unusual in a set that can be used: a sentence each, with a count."""
    counts = [[len(question.answers) for question in sample.questions] for sample in samples]
    few = sum(0 < count < PEOPLE for of_image in counts for count in of_image)
    bare = sum(not of_image for of_image in counts)
    told = (
        (few, f"{few:,} question{' has' if few == 1 else 's have'} fewer than ten answers"),
        (bare, f"{bare:,} image{' has' if bare == 1 else 's have'} no question"),
    )
    return [sentence for count, sentence in told if count]


def _by_image(
    file: Path, asked: Sequence[Asked], names: Mapping[Id, str | None], files: ImageNames
) -> list[QuestionSample]:
    """The samples; images that are only listed come last."""
    empty = [question.question_id for _, question in asked if not question.text.strip()]
    if empty:
        whose = who_has("question", empty)
        raise InputError(f"{file}: {whose} no text; write what is asked or remove the entry")
    groups: defaultdict[Id, list[AskedQuestion]] = defaultdict(list)
    for image, question in asked:
        groups[image].append(question)
    for image in names:
        groups.setdefault(image, [])
    return [
        QuestionSample(image, files.path(image, names.get(image)), tuple(group))
        for image, group in groups.items()
    ]


def _read_two(file: Path, tree: Any, answers: Path | None) -> list[Asked]:
    """The questions of VQA v2's form with what people answered to them."""
    questions = questions_of(file, tree)
    if answers is None:
        return [(image, AskedQuestion(key, text, (), "", "", "")) for key, image, text in questions]
    people = _joined(file, [question.question_id for question in questions], answers)
    asked: list[Asked] = []
    for key, image, text in questions:
        _, texts, answer_type, question_type, most = people[key]
        most = most or most_given(texts)
        asked.append((image, AskedQuestion(key, text, texts, most, answer_type, question_type)))
    return asked


def _joined(file: Path, keys: Collection[Id], answers: Path) -> Mapping[Id, Answers]:
    """What people answered, by the ids of the questions: to each of them and to no other."""
    people = {given.question_id: given for given in read_answers(answers)}
    known = set(keys)
    if people.keys() != known:  # perhaps only in another spelling, "42" for 42
        people = as_listed(people, keys)
    bare = [key for key in keys if key not in people]
    if bare:
        raise InputError(
            f"{answers} has no answers to question_id {shown(bare)} of {file}; "
            "give the annotations that belong to the questions"
        )
    extra = [key for key in people if key not in known]
    if extra:
        raise InputError(
            f"{answers} has answers to question_id {shown(extra)}, which {file} does not ask; "
            "give the questions that belong to the annotations"
        )
    return people


def _listed_names(file: Path, tree: Any, asked: set[Id]) -> Mapping[Id, str | None]:
    """The names of the images that a questions file lists, by the ids that its questions have."""
    if "images" not in tree:
        return {}
    images = records(file, tree, "images", form=FORM_OF_IMAGES)
    keys = images.ids("id")
    refuse_doubles(file, "image", keys)
    names = images.checked_texts("file_name", [row.get("file_name", "") for row in images.rows])
    listed = {key: name or None for key, name in zip(keys, names, strict=True)}
    return listed if listed.keys() >= asked else as_listed(listed, asked)
