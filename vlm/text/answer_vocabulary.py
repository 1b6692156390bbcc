"""Which answers a model may give: the frequent ones of a training set, or a published list."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from vlm.errors import InputError
from vlm.formats.answer_lists import read_answer_list
from vlm.text.answers import answer_vocabulary


class AnswerVocabulary(ABC):
    """How the answers of a model are chosen."""

    @abstractmethod
    def choose(self, answers: Iterable[str]) -> tuple[str, ...]:
        """The answers, in an order that never changes.

        Args:
            answers: of each training question the one that most people gave, as written.
        """


@dataclass(frozen=True)
class FrequentAnswers(AnswerVocabulary):
    """Those that belong to enough training questions, normalised, the most frequent first.

    Attributes:
        min_count: questions that an answer must belong to; 9 is the published choice
            (Teney et al. 2018, arXiv:1708.02711).

    Raises:
        InputError: if it is below 1.
    """

    min_count: int = 9

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise InputError(f"expected min_count of 1 or more questions, got {self.min_count}")

    def choose(self, answers: Iterable[str]) -> tuple[str, ...]:
        """The frequent ones.

        Raises:
            InputError: if no answer is frequent enough.
        """
        return tuple(answer_vocabulary(answers, min_count=self.min_count))


@dataclass(frozen=True)
class ListedAnswers(AnswerVocabulary):
    """Those of a file, in its order: a published list, or one answer a line.

    Attributes:
        file: see :func:`vlm.formats.answer_lists.read_answer_list`.
    """

    file: str

    def choose(self, answers: Iterable[str]) -> tuple[str, ...]:
        """All of the file, whatever people answered.

        Raises:
            InputError: if the file cannot be used.
        """
        del answers
        return tuple(read_answer_list(Path(self.file)))
