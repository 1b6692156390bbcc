"""VQA accuracy: an answer is right if three other people gave it (Antol et al., 2015).

Programs that compute it disagree; a score must name which it follows.

- ``official-2021``, the official program at a013f00. Where people disagree, their answers and the
  predicted one are normalised; where all agree, neither is, so "Yes" scores 0 against ten "yes".
- ``official-2016``, at 458a8b2, copied into LAVIS. The predicted answer is normalised always, those
  of people lose their punctuation where they disagree and never their articles or number words.
- ``mmf``: both sides normalised always, by MMF's rules; not compared with that program's output.
"""

import difflib
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from statistics import fmean
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import Id, shown
from vlm.formats.question_layouts import AskedQuestion
from vlm.metrics.resampling import mean_intervals
from vlm.metrics.signature import answer_signature
from vlm.text.answers import clean_spaces, normalise, normalise_mmf, strip_punctuation

QuestionId = TypeVar("QuestionId", bound=Hashable)
Sides = tuple[str, Sequence[str]]  # the predicted answer and those of people

_ENOUGH = 3  # other people who make an answer right
_RESAMPLES = 1000  # of the bootstrap


class Asked(Protocol):
    """An image with its questions, a ``QuestionSample`` say."""

    @property
    def questions(self) -> tuple[AskedQuestion, ...]:
        """About the image."""
        ...


class HumanAnswers(NamedTuple):
    """What people answered to one question.

    Attributes:
        answers: As written, one a person; ten in VQA v2.
        answer_type: ``yes/no``, ``number`` or ``other`` in VQA v2.
        question_type: The question's first words.
    """

    answers: tuple[str, ...]
    answer_type: str
    question_type: str


def human_answers(samples: Iterable[Asked]) -> dict[Id, HumanAnswers]:
    """What people answered to each question that has answers.

    Args:
        samples: images with their questions.
    """
    return {
        question.question_id: HumanAnswers(
            question.answers, question.answer_type, question.question_type
        )
        for sample in samples
        for question in sample.questions
        if question.answers
    }


@dataclass(frozen=True)
class VqaScores(Generic[QuestionId]):
    """Accuracies in per cent, in [0, 100], at full precision; papers print them :func:`rounded`.

    Attributes:
        overall: Mean over questions.
        by_answer_type: Mean over the questions of each type, types in alphabetical order.
        by_question_type: The same by the question's first words.
        per_question: Of each question, in the order of the human answers.
        signature: See :func:`vlm.metrics.signature.answer_signature`.
    """

    overall: float
    by_answer_type: dict[str, float]
    by_question_type: dict[str, float]
    per_question: dict[QuestionId, float]
    signature: str = field(compare=False)

    def record(self) -> dict[str, Any]:
        """What ``metrics.json`` holds of them."""
        kinds = {kind: of for kind, of in self.by_answer_type.items() if kind != "overall"}
        return {
            "scores": {"overall": self.overall, **kinds},
            "question types": self.by_question_type,
            "signature": self.signature,
            "questions": len(self.per_question),
        }


def score_answers(
    answers: Mapping[QuestionId, str],
    human: Mapping[QuestionId, HumanAnswers],
    *,
    variant: str = "official-2021",
) -> VqaScores[QuestionId]:
    """Scores one answer to each question against those that people gave.

    Args:
        answers: One predicted answer for each question, as written.
        human: At least one answer for each question. Fewer than four cannot make a prediction
            wholly right, since one person is always left out.
        variant: The program to agree with, of :data:`VARIANTS`.

    Raises:
        InputError: The variant is unknown, there is no question, a question is on one side only or
            has no answer, or an answer is not a string.
    """
    _check_variant(variant)
    _check_questions(answers, human)
    _check_strings(answers, human)
    sides = _SIDES[variant]
    per_question = {}
    for question, people in human.items():
        answer, others = sides(answers[question], people.answers)
        per_question[question] = _accuracy(others.count(answer), len(others))
    scored = list(zip(human.values(), per_question.values(), strict=True))
    return VqaScores(
        overall=fmean(per_question.values()),
        by_answer_type=_means((people.answer_type, score) for people, score in scored),
        by_question_type=_means((people.question_type, score) for people, score in scored),
        per_question=per_question,
        signature=answer_signature(variant, human),
    )


def ceiling(
    human: Mapping[QuestionId, HumanAnswers],
    vocabulary: Collection[str],
    *,
    variant: str = "official-2021",
) -> dict[QuestionId, float]:
    """The most that one answer of a vocabulary can earn at each question, in per cent.

    Args:
        human: At least one answer for each question.
        vocabulary: The answers that may be given.
        variant: Of :data:`VARIANTS`.

    Raises:
        InputError: The variant is unknown.
    """
    _check_variant(variant)
    known, sides = frozenset(vocabulary), _SIDES[variant]
    best = {}
    for question, people in human.items():
        written = dict.fromkeys(people.answers)
        possible = [*written, *dict.fromkeys(map(normalise, written))]
        earned = [0.0]
        for answer in known.intersection(possible):
            given, others = sides(answer, people.answers)
            earned.append(_accuracy(others.count(given), len(others)))
        best[question] = max(earned)
    return best


def rounded(score: float) -> float:
    """Two decimals as the official program, in Python 2, prints them: halves away from zero."""
    return float(Decimal(score).quantize(Decimal("0.01"), ROUND_HALF_UP))


def _accuracy(agreeing: int, people: int) -> float:
    """Per cent: each person left out in turn, a third for each agreeing other, at most one whole.

    The official program leaves out all records equal to the one left out. Their answer ids differ,
    so that is one person, also among people who wrote the same.
    """
    thirds = agreeing * min(agreeing - 1, _ENOUGH) + (people - agreeing) * min(agreeing, _ENOUGH)
    return 100 * thirds / (_ENOUGH * people)


def _means(rows: Iterable[tuple[str, float]]) -> dict[str, float]:
    scores: dict[str, list[float]] = defaultdict(list)
    for name, score in rows:
        scores[name].append(score)
    return {name: fmean(scores[name]) for name in sorted(scores)}


def _sides_2021(answer: str, people: Sequence[str]) -> Sides:
    cleaned = [clean_spaces(text) for text in people]
    if len(set(cleaned)) == 1:
        return clean_spaces(answer), cleaned
    return normalise(answer), [normalise(text) for text in people]


def _sides_2016(answer: str, people: Sequence[str]) -> Sides:
    if len(set(people)) > 1:
        people = [strip_punctuation(text) for text in people]
    return normalise(answer), people


def _sides_mmf(answer: str, people: Sequence[str]) -> Sides:
    return normalise_mmf(answer), [normalise_mmf(text) for text in people]


_SIDES: dict[str, Callable[[str, Sequence[str]], Sides]] = {
    "official-2021": _sides_2021,
    "official-2016": _sides_2016,
    "mmf": _sides_mmf,
}
VARIANTS = tuple(_SIDES)


def _check_variant(variant: str) -> None:
    if variant not in VARIANTS:
        nearest = difflib.get_close_matches(str(variant).lower(), VARIANTS, n=1, cutoff=0.0)
        raise InputError(
            f"no variant {variant!r} of VQA accuracy among {', '.join(VARIANTS)}: "
            f"did you mean {nearest[0]!r}?"
        )


def _check_questions(
    answers: Mapping[QuestionId, str], human: Mapping[QuestionId, HumanAnswers]
) -> None:
    if not human:
        raise InputError("there are no human answers: give those to at least one question")
    _refuse(
        [question for question in human if question not in answers],
        "have human answers but no predicted one: answer every question once",
    )
    _refuse(
        [question for question in answers if question not in human],
        "have a predicted answer but no human ones: drop them or add the people's answers",
    )
    _refuse(
        [question for question, people in human.items() if not people.answers],
        "have an empty list of human answers: give each at least one, or leave them out",
    )


def _check_strings(
    answers: Mapping[QuestionId, str], human: Mapping[QuestionId, HumanAnswers]
) -> None:
    _refuse(
        [question for question, answer in answers.items() if not isinstance(answer, str)],
        "have a predicted answer that is not a string: give each one as text",
    )
    _refuse(
        [
            question
            for question, people in human.items()
            if isinstance(people.answers, str)
            or not all(isinstance(text, str) for text in people.answers)
        ],
        "have human answers that are not a list of strings: give each a list of texts",
    )


def _refuse(questions: Sequence[Hashable], problem: str) -> None:
    if questions:
        raise InputError(f"questions {shown([repr(key) for key in questions])} {problem}")


def accuracy_interval(
    samples: Iterable[Asked], accuracy: Mapping[Any, float]
) -> tuple[float, float]:
    """95 % of a mean accuracy, by a bootstrap over images, whose questions come together.

    Args:
        samples: images with their questions.
        accuracy: of each question that counts, in per cent; at least one.

    Returns:
        In per cent, the lower end first.
    """
    of_images = [
        [accuracy[q.question_id] for q in sample.questions if q.question_id in accuracy]
        for sample in samples
    ]
    counted = [row for row in of_images if row]
    sums, counts = np.array([[sum(row)] for row in counted]), np.array([*map(len, counted)], float)
    low, high = mean_intervals(sums, counts, samples=_RESAMPLES, seed=0)[0].tolist()
    return low, high
