"""POPE: yes/no questions about objects, half of them absent (Li et al., 2023, arXiv:2305.10355)."""

import re
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import shown

ImageId = TypeVar("ImageId", bound=Hashable)
QuestionId = TypeVar("QuestionId", bound=Hashable)

STRATEGIES = ("random", "popular", "adversarial")
_NO = re.compile(r"\b(?:no|not|n't)\b|n't\b", re.IGNORECASE)


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

    Absent objects are drawn at random, are the most frequent ones of the set (``popular``), or
    those that stand most often beside an object of the image (``adversarial``). Images with fewer
    than ``each`` objects are left out, as in POPE.

    Args:
        objects: Names of the objects of each image.
        strategy: Of :data:`STRATEGIES`.
        each: Present and absent objects asked about, an image; at least 1.
        seed: Of the draw; questions are a pure function of it and of the objects.

    Raises:
        InputError: There is no such strategy, ``each`` is below 1, or no image has enough objects.
    """
    if strategy not in STRATEGIES or each < 1:
        raise InputError(
            f"expected one of {', '.join(STRATEGIES)} and each of at least 1, got "
            f"{strategy!r} and {each}"
        )
    frequency = Counter(name for names in objects.values() for name in set(names))
    beside: dict[str, Counter[str]] = {name: Counter() for name in frequency}
    for names in objects.values():
        for name in set(names):
            beside[name].update(set(names) - {name})
    draw = np.random.default_rng(seed)
    questions = []
    for image, names in objects.items():
        present = sorted(set(names))
        absent = sorted(frequency.keys() - set(present))
        if len(present) < each or len(absent) < each:
            continue
        if strategy == "random":
            asked = draw.permutation(absent).tolist()
        elif strategy == "popular":
            asked = sorted(absent, key=lambda name: (-frequency[name], name))
        else:
            met = sum((beside[name] for name in present), Counter())
            asked = sorted(absent, key=lambda name: (-met[name], -frequency[name], name))
        for yes, no in zip(draw.permutation(present).tolist()[:each], asked, strict=False):
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

    An answer is a no if its first sentence has the word no or not, or ends a word in n't; anything
    else is a yes, as POPE's own evaluation reads it.

    Args:
        answers: One of each question.
        labels: ``yes`` or ``no`` of each question.

    Raises:
        InputError: There is no question, a question is on one side only, or a label is neither.
    """
    _check(answers, labels)
    said = np.array([_is_yes(answers[key]) for key in labels])
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


def _ask(image: Hashable, name: str, label: str) -> ObjectQuestion:
    article = "an" if name[0] in "aeiou" else "a"
    return ObjectQuestion(image, f"Is there {article} {name} in the image?", label)


def _is_yes(answer: str) -> bool:
    return not _NO.search(answer.partition(".")[0])


def _check(answers: Mapping[QuestionId, str], labels: Mapping[QuestionId, str]) -> None:
    if not labels:
        raise InputError("there is no question to score: give labels of at least one")
    missing = [key for key in labels if key not in answers]
    foreign = [key for key in answers if key not in labels]
    wrong = [key for key, label in labels.items() if label not in ("yes", "no")]
    for ids, problem in (
        (missing, "have no answer: answer every question once"),
        (foreign, "have an answer and no label: drop them or add labels"),
        (wrong, "have a label that is neither yes nor no: correct it"),
    ):
        if ids:
            raise InputError(f"questions {shown(ids)} {problem}")
