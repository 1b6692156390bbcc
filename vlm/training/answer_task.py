"""AnswerTask: questions answered from a vocabulary or freely, scored as VQA v2 does."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlm.decoding import SpecialTokens, Strategy
from vlm.errors import InputError
from vlm.explain.passages import Answer, Passage, question_passage
from vlm.formats.fields import is_text
from vlm.formats.ids import Id
from vlm.formats.question_sets import AskedQuestion
from vlm.metrics.calibration import (
    TEMPERATURES,
    answered,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from vlm.metrics.vqa import accuracy_interval, ceiling, human_answers, score_answers
from vlm.models.answer_heads import AnswerWriter
from vlm.models.answerer import QuestionAnswerer
from vlm.models.encoder import Memory
from vlm.models.writing import WritingState
from vlm.regions import RegionFeatures
from vlm.text.answers import soft_targets
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.answer_notes import answer_notes
from vlm.training.answer_report import write_answer_report
from vlm.training.objectives import Loss, nothing
from vlm.training.task import Task

SHOWN = 5  # answers that are kept of each question
THRESHOLDS = tuple(tenth / 10 for tenth in range(10))  # of --abstain, that a test tells about


class BestAnswers(NamedTuple):
    """What a model answers to a question.

    Attributes:
        answers: the best ones, the best first.
        probabilities: of those, in [0, 1].
        confidences: of the best one at each of :data:`vlm.metrics.calibration.TEMPERATURES`.
    """

    answers: tuple[str, ...]
    probabilities: tuple[float, ...]
    confidences: np.ndarray


class AnswerResult(NamedTuple):
    """The same, and of which question of a set.

    Attributes:
        question_id: of the question.
        answers: the best ones, the best first.
        probabilities: of those, in [0, 1].
        confidences: of the best one at each temperature.
    """

    question_id: Id
    answers: tuple[str, ...]
    probabilities: tuple[float, ...]
    confidences: np.ndarray


class AnswerTask(Task[AnswerResult]):
    """Answers: of a vocabulary, learnt from what ten people said, scored as VQA v2 does.

    Args:
        answerer: that answers.
        tokenizer: of questions.
        answers: the vocabulary, in the order of the answerer's scores.
        decoding: how answers are written freely; None ranks the vocabulary.

    Raises:
        InputError: if the decoder has no positions for a question, or an option does not fit.
    """

    name, file = "answers", "answers.json"

    def __init__(
        self,
        answerer: QuestionAnswerer,
        tokenizer: CaptionTokenizer,
        answers: Sequence[str],
        *,
        decoding: Strategy | None,
    ) -> None:
        super().__init__()
        self.answerer = answerer
        self.tokenizer = tokenizer
        self.answers = tuple(answers)
        self.decoding = decoding
        # That scores are divided by before they become probabilities; fitted anew in each
        # validation (Guo et al. 2017, arXiv:1706.04599), so it is no option.
        self.temperature = 1.0
        self.per_question: dict[Id, float] = {}
        self._places = {answer: place for place, answer in enumerate(self.answers)}
        written = 0
        if isinstance(answerer.head, AnswerWriter):
            written = answerer.head.answers.shape[1] - 1
            if decoding is not None:
                written = max(written, decoding.max_length)
        elif decoding is not None:
            raise InputError(
                "model.decoding writes answers, and a classifier does not write; leave it out or "
                "give model.head=vlm.models.AnswerWriter"
            )
        self.longest = answerer.decoder.max_length - written
        if self.longest < 3:
            raise InputError(
                f"the decoder's max_length={answerer.decoder.max_length} leaves {self.longest} "
                f"positions to a question before answers of {written}; give it more"
            )

    def loss(self, memory: Memory, samples: Sequence[Any]) -> Loss:
        """The head's loss against soft targets."""
        asked = [sample.questions for sample in samples]
        if not any(asked):
            return Loss(nothing(memory, self.answerer.decoder, self.answerer.head))
        tokens, real = self.read([[question.text for question in row] for row in asked])
        targets = self.targets(asked).to(memory.features.device)
        tokens, real = tokens.to(targets.device), real.to(targets.device)
        return Loss(self.answerer.loss(memory, tokens, real, targets))

    plain_loss = loss

    def read(self, questions: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """Questions of several images as ids ``(B, C, L)``, and where they do not pad."""
        tokens = torch.from_numpy(self.tokenizer.batch(questions, max_length=self.longest))
        return tokens, tokens != self.tokenizer.pad

    def targets(self, asked: Sequence[Sequence[AskedQuestion]]) -> Tensor:
        """How right each answer of the vocabulary is, ``(B, C, A)`` in [0, 1]."""
        most = max(map(len, asked))
        targets = torch.zeros(len(asked), most, len(self.answers))
        for image, row in enumerate(asked):
            for place, question in enumerate(row):
                for answer, score in soft_targets(question.answers, self._places).items():
                    targets[image, place, self._places[answer]] = score
        return targets

    @torch.inference_mode()
    def respond(self, memory: Memory, samples: Sequence[Any]) -> list[AnswerResult]:
        """The best answers to each question."""
        asked = [[question.text for question in sample.questions] for sample in samples]
        pairs = zip(self.keys(samples), self.answer(memory, asked), strict=True)
        return [AnswerResult(key, *best) for key, best in pairs]

    @torch.inference_mode()
    def answer(
        self, memory: Memory, questions: Sequence[Sequence[str]], *, shown: int = SHOWN
    ) -> list[BestAnswers]:
        """The best answers to questions about images, one image's after another's.

        Args:
            memory: of ``B`` images.
            questions: ``B`` lists of any length.
            shown: answers that are kept of each question.
        """
        if not any(questions):
            return []
        tokens, real = (part.to(memory.features.device) for part in self.read(questions))
        there = real.any(dim=-1)
        if self.decoding is None:
            scores = self.answerer(memory, tokens, real)[there].float()
            return self._ranked(scores, min(shown, len(self.answers)))
        return self._written(self.decoding, memory, tokens, real)

    def require(self, question: str) -> None:
        """Holds that there is something to answer.

        Raises:
            InputError: if the question is no text, or has no word.
        """
        if not is_text(question) or len(self.tokenizer.encode([question], max_length=3)[0]) < 3:
            raise InputError(f"expected a question, got {question!r}, which has no word to read")

    def passage(self, regions: RegionFeatures, question: str) -> Passage:
        """A question about one image and its best answer, for their maps.

        Raises:
            InputError: if there is nothing to answer.
        """
        self.require(question)
        best = self.answer(self.answerer.encode(regions), [[question]], shown=1)[0].answers[0]
        answer = Answer(best, self._places.get(best, -1), self.temperature)
        tokens = self.tokenizer.encode([question], max_length=self.longest)[0]
        return question_passage(self.answerer, self.tokenizer, regions, tokens, answer)

    def passages(self, regions: RegionFeatures, sample: Any) -> list[Passage]:
        """The first question, where there is one."""
        return [self.passage(regions, question.text) for question in sample.questions[:1]]

    def keys(self, samples: Sequence[Any]) -> list[Any]:
        """The ids of the questions."""
        return [question.question_id for sample in samples for question in sample.questions]

    def score(self, samples: Sequence[Any], split: str) -> dict[str, float]:
        """VQA accuracy in per cent, and how far confidence is from it.

        On ``val`` the temperature becomes the one that fits best.
        """
        given = {result.question_id: result for result in self.results}
        human = {key: people for key, people in human_answers(samples).items() if key in given}
        if not human:
            return {}
        scores = score_answers({key: given[key].answers[0] for key in human}, human)
        self.per_question = scores.per_question
        accuracy = np.array(list(scores.per_question.values())) / 100
        confidence = np.array([given[key].probabilities[0] for key in human])
        if split == "val":
            at_each = np.stack([given[key].confidences for key in human])
            self.temperature = fit_temperature(at_each, accuracy)
            confidence = at_each[:, TEMPERATURES.index(self.temperature)]
        error = expected_calibration_error(confidence, accuracy)
        self.record = scores.record() | {
            "interval": accuracy_interval(samples, scores.per_question),
            "answers": len(self.answers),
            "ceiling": fmean(ceiling(human, self.answers).values()),
            "calibration": {
                "temperature": self.temperature,
                "expected calibration error": error,
                "bins": [row._asdict() for row in reliability(confidence, accuracy)],
            },
            "abstention": [
                {"threshold": least} | answered(confidence, accuracy, threshold=least)._asdict()
                for least in THRESHOLDS
            ],
        }
        kinds = {f"accuracy of {kind}": of for kind, of in scores.by_answer_type.items() if kind}
        return {"accuracy": scores.overall, "calibration error": error, **kinds}

    def rows(self) -> list[dict[str, Any]]:
        """VQA's result format."""
        return [{"question_id": row.question_id, "answer": row.answers[0]} for row in self.results]

    def table(self, samples: Sequence[Any], most: int) -> tuple[list[str], list[list[Any]]]:
        """Answers beside those of people."""
        by_id = {q.question_id: (s.path, q) for s in samples for q in s.questions}
        rows = []
        for result in self.results[:most]:
            path, question = by_id[result.question_id]
            people = ", ".join(question.answers)
            rows.append([path, question.text, result.answers[0], result.probabilities[0], people])
        return ["question", "answer", "probability", "people"], rows

    def notes(self, samples: Sequence[Any], split: str) -> list[str]:
        """What the vocabulary can earn, and questions that are not read as they were asked."""
        told = answer_notes(samples, self.answers, self.tokenizer, longest=self.longest)
        told += self.answerer.head.notes()
        return [f"{split}: {note}" for note in told]

    def write_report(self, folder: Path, samples: Sequence[Any]) -> None:
        """A page of accuracy, calibration and the most confident mistakes."""
        if self.record is not None:
            write_answer_report(folder, self.record, self.results, self.per_question, samples)

    def _ranked(self, scores: Tensor, shown: int) -> list[BestAnswers]:
        """Results of scores ``(Q, A)``."""
        if not scores.isfinite().any(dim=-1).all():  # -inf alone is an answer that none can write
            raise InputError(
                "the model's scores of answers are no numbers, so its training went astray; take "
                "a checkpoint of before"
            )
        best, places = (scores / self.temperature).softmax(dim=-1).topk(shown)
        tempered = (scores / temperature for temperature in TEMPERATURES)
        grid = [some.amax(dim=-1) - some.logsumexp(dim=-1) for some in tempered]
        confidences = torch.stack(grid, dim=-1).exp().cpu().numpy()
        rows = zip(places.tolist(), best.tolist(), confidences, strict=True)
        return [
            BestAnswers(tuple(self.answers[place] for place in row), tuple(likely), at_each)
            for row, likely, at_each in rows
        ]

    def _written(
        self, decoding: Strategy, memory: Memory, tokens: Tensor, real: Tensor
    ) -> list[BestAnswers]:
        """Results that the decoder writes freely after each question."""
        decoder, tokenizer = self.answerer.decoder, self.tokenizer
        special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)
        state = WritingState.after(decoder, decoder.begin(tokens, memory, real=real))
        there = real.any(dim=-1).flatten()
        decoded = decoding.decode(state, batch=len(there), special=special, device=tokens.device)
        texts = [[tokenizer.decode(row.tolist()) for row in rows] for rows in decoded.tokens[there]]
        sums = decoded.sums[there].double().cpu().numpy()
        return [
            BestAnswers(
                tuple(rows),
                tuple(np.exp(row / self.temperature).tolist()),
                np.exp(row[0] / np.array(TEMPERATURES)),
            )
            for rows, row in zip(texts, sums, strict=True)
        ]
