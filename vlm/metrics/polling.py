"""POPE: yes/no questions about objects, half of them absent (Li et al., 2023, arXiv:2305.10355)."""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from itertools import chain, permutations
from typing import NamedTuple, TypeVar

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import who_has

ImageId = TypeVar("ImageId", bound=Hashable)
QuestionId = TypeVar("QuestionId", bound=Hashable)

STRATEGIES = ("random", "popular", "adversarial")
_NO = frozenset(["No", "no", "not"])  # as POPE's evaluation spells them


class ObjectQuestion(NamedTuple):
    """Whether an image shows an object.

    Attributes:
        image: Its id.
        text: The question.
        label: ``yes`` or ``no``.
    """

    image: Hashable
    text: str
    label: str


class PollingScores(NamedTuple):
    """How well yes and no were told apart, in [0, 1]; ``yes`` is the positive class.

    Attributes:
        accuracy: Right answers by the number of questions.
        precision: Right among those answered yes; 0 without any.
        recall: Answered yes among those that are; 0 without any.
        f1: Harmonic mean of the two; 0 where both are.
        yes: Share of questions answered yes.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes: float


def object_questions(
    objects: Mapping[ImageId, Collection[str]],
    *,
    strategy: str,
    each: int = 3,
    seed: int = 0,
) -> list[ObjectQuestion]:
    """Questions about present and absent objects in turn, equally many of both for each image.

    Absent objects are drawn at random, are the most frequent ones of the set (``popular``), or,
    for each present object asked about, the one that stands most often beside it
    (``adversarial``). Images with fewer than ``each`` objects, or that lack fewer, are left out and
    not counted, as in POPE. Present objects are drawn, the same for every strategy.

    Args:
        objects: Names of the objects of each image.
        strategy: Of :data:`STRATEGIES`.
        each: Present and absent objects asked about, an image; at least 1.
        seed: Of the draw; questions are a pure function of it and of the objects.

    Raises:
        InputError: There is no such strategy, ``each`` is below 1, the seed below 0, an object has
            no name, or no image has enough objects.
    """
    if strategy not in STRATEGIES or each < 1 or seed < 0:
        raise InputError(
            f"expected one of {', '.join(STRATEGIES)}, each of at least 1 and a seed of at least "
            f"0, got {strategy!r}, {each} and {seed}"
        )
    _refuse(
        "image",
        [image for image, names in objects.items() if not all(map(_is_name, names))],
        "an object whose name is no text: name its category",
    )
    shows = {image: sorted(set(names)) for image, names in objects.items()}
    shows = {image: names for image, names in shows.items() if len(names) >= each}
    frequency = Counter(chain.from_iterable(shows.values()))
    beside = Counter(chain.from_iterable(permutations(names, 2) for names in shows.values()))
    popular = sorted(frequency, key=lambda name: (-frequency[name], name))
    draw, draw_absent = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(2))
    questions = []
    for image, names in shows.items():
        present = draw.permutation(names).tolist()[:each]
        absent = [name for name in popular if name not in names]
        if len(absent) < each:
            continue
        if strategy == "random":
            absent = draw_absent.permutation(absent).tolist()
        elif strategy == "adversarial":
            absent = _companions(present, absent, beside)
        for yes, no in zip(present, absent, strict=False):
            questions += [_ask(image, yes, "yes"), _ask(image, no, "no")]
    if not questions:
        raise InputError(
            f"no image has {each} objects and lacks as many of the others; ask about fewer each"
        )
    return questions


def score_yes_no(
    answers: Mapping[QuestionId, str], labels: Mapping[QuestionId, str]
) -> PollingScores:
    """Scores free-text answers to object questions.

    An answer is read as POPE's own evaluation does, by :func:`reads_as_yes`.

    Args:
        answers: One of each question.
        labels: ``yes`` or ``no`` of each question.

    Raises:
        InputError: There is no question, a question is on one side only, or a label is neither.
    """
    _check(answers, labels)
    said = np.array([reads_as_yes(answers[key]) for key in labels])
    true = np.array([label == "yes" for label in labels.values()])
    hits = float((said & true).sum())
    precision, recall = hits / max(1, said.sum()), hits / max(1, true.sum())
    return PollingScores(
        accuracy=float((said == true).mean()),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if hits else 0.0,
        yes=float(said.mean()),
    )


def reads_as_yes(answer: str) -> bool:
    """Whether POPE's own evaluation takes an answer for a yes.

    A no is one where, up to its first full stop and without commas, one of the words parted by
    spaces is No, no or not; anything else is a yes, also an empty answer, "NO", "no!" and
    "There isn't".
    """
    return _NO.isdisjoint(answer.partition(".")[0].replace(",", "").split(" "))


def neither_yes_nor_no(answers: Mapping[QuestionId, str]) -> list[QuestionId]:
    """The questions whose answer is read as a yes though none of its words is, in any case."""
    return [
        key
        for key, answer in answers.items()
        if reads_as_yes(answer) and "yes" not in re.findall(r"\w+", answer.lower())
    ]


def _companions(
    present: Sequence[str], absent: Sequence[str], beside: Mapping[tuple[str, str], int]
) -> list[str]:
    """For each present object the absent one most often beside it, the first of equals, once."""
    chosen: list[str] = []
    for name in present:
        left = [other for other in absent if other not in chosen]
        chosen.append(max(left, key=lambda other: beside[name, other]))
    return chosen


def _ask(image: Hashable, name: str, label: str) -> ObjectQuestion:
    article = "an" if name[0].lower() in "aeiou" else "a"
    return ObjectQuestion(image, f"Is there {article} {name} in the image?", label)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _check(answers: Mapping[QuestionId, str], labels: Mapping[QuestionId, str]) -> None:
    if not labels:
        raise InputError("there is no question to score: give labels of at least one")
    missing = [key for key in labels if key not in answers]
    foreign = [key for key in answers if key not in labels]
    wrong = [key for key, label in labels.items() if label not in ("yes", "no")]
    _refuse("question", missing, "no answer: answer every question once")
    _refuse("question", foreign, "an answer and no label: drop it or add a label")
    _refuse("question", wrong, "a label that is neither yes nor no: correct it")


def _refuse(what: str, ids: Sequence[Hashable], problem: str) -> None:
    if ids:
        raise InputError(f"{who_has(what, ids)} {problem}")
