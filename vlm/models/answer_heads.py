"""Heads that score answers to questions: one classifies, one writes with the decoder itself."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.models.cross_entropy import linear_cross_entropy
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory
from vlm.models.linear import Linear

TOKENS_AT_ONCE = 2**13  # whose log-probabilities over the vocabulary exist at a time


class AnswerHead(nn.Module, ABC):
    """What a decoder over a memory answers with.

    Every head is made with the decoder's width and the answers there are: ``(A, T)`` ids of
    their tokens, start and end included, -1 behind; a row of -1 alone cannot be written.
    """

    @abstractmethod
    def forward(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor
    ) -> Tensor:
        """Scores of all answers, the higher the likelier.

        Args:
            decoder: reads the questions.
            memory: of ``B`` images.
            questions: ``(B, C, L)`` ids, start token first, padding last.
            real: ``(B, C, L)``, False where a question pads; all of it for one that is not there.

        Returns:
            ``(B, C, A)``; without meaning for questions that are not there.
        """

    @abstractmethod
    def loss(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor, targets: Tensor
    ) -> Tensor:
        """The scalar to minimise, a mean over questions.

        Args:
            decoder: reads the questions.
            memory: of ``B`` images.
            questions: ``(B, C, L)`` ids, start token first, padding last.
            real: ``(B, C, L)``, False where a question pads; all of it for one that is not there.
            targets: ``(B, C, A)`` in [0, 1], how right each answer is.
        """

    def notes(self) -> list[str]:
        """What of the answers the head cannot give, a sentence each."""
        return []


class AttentionPool(nn.Module):
    """One vector a sequence: its places averaged, each by a weight that it gives itself.

    Args:
        width: ``D``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = Linear(width, 1)

    def forward(self, text: Tensor, real: Tensor) -> Tensor:
        """``(B, C, L, D)`` to ``(B, C, D)``, leaving out where ``real`` ``(B, C, L)`` is False.

        A sequence without any real place gives zeros.
        """
        weights = self.weights(text, real)
        return (weights.unsqueeze(-1) * text.masked_fill(~real.unsqueeze(-1), 0)).sum(dim=-2)

    def weights(self, text: Tensor, real: Tensor) -> Tensor:
        """``(B, C, L)``, what each place has in the average; rows sum to 1, empty ones to 0."""
        scores = self.score(text).squeeze(-1).masked_fill(~real, -math.inf)
        empty = ~real.any(dim=-1, keepdim=True)
        return scores.masked_fill(empty, 0).softmax(dim=-1).masked_fill(empty, 0)


class AnswerClassifier(AnswerHead):
    """Chooses: the question's words are pooled, and one layer scores every answer.

    Args:
        width: of the decoder, ``D``.
        answers: ``(A, T)``, of which it needs to know how many.
        dropout: before the last layer, in [0, 1).
        exclusive: whether one answer rules out the others, as in a set that asked one person
            only; learnt by cross-entropy of their softmax, not of a sigmoid each.
    """

    def __init__(
        self, width: int, answers: Tensor, *, dropout: float = 0.3, exclusive: bool = False
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.exclusive = exclusive
        self.pool = AttentionPool(width)
        self.classify = nn.Sequential(
            Linear(width, 2 * width),
            nn.GELU(),
            nn.LayerNorm(2 * width),
            nn.Dropout(dropout),
            Linear(2 * width, len(answers)),
        )

    def forward(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor
    ) -> Tensor:
        """``(B, C, A)``, whose softmax tells answers apart, whichever loss has taught them."""
        return self.classify(self.pool(decoder.read(questions, memory, real=real), real))

    def loss(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor, targets: Tensor
    ) -> Tensor:
        """Cross-entropy with soft targets, :func:`soft_answer_loss` or, if exclusive, the other."""
        scores, there = self(decoder, memory, questions, real), real.any(dim=-1)
        loss = exclusive_answer_loss if self.exclusive else soft_answer_loss
        return loss(scores, targets, there)


class AnswerWriter(AnswerHead):
    """Writes: the decoder goes on after the question, and an answer's score is its log-probability.

    All answers go on from one reading of the question (:meth:`TextDecoder.follow`). It has no
    weights of its own.

    Args:
        width: of the decoder, which is not needed.
        answers: ``(A, T)``.
    """

    answers: Tensor

    def __init__(self, width: int, answers: Tensor) -> None:
        super().__init__()
        del width
        self.register_buffer("answers", answers, persistent=False)

    def forward(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor
    ) -> Tensor:
        """``(B, C, A)``, log-probabilities of whole answers after their question."""
        prefix = decoder.begin(questions, memory, real=real)
        images, several = questions.shape[:2]
        at_once = max(1, TOKENS_AT_ONCE // (images * several * self.answers.shape[1]))
        parts = []
        for answers in self.answers.split(at_once):
            tokens = answers.expand(images, several, -1, -1)
            written = tokens[..., 1:] >= 0
            hidden = decoder.follow(tokens[..., :-1].clamp(min=0), prefix)
            log_probabilities = decoder.logits(hidden).float().log_softmax(dim=-1)
            chosen = log_probabilities.gather(-1, tokens[..., 1:, None].clamp(min=0)).squeeze(-1)
            sums = chosen.masked_fill(~written, 0).sum(dim=-1)
            parts.append(sums.masked_fill(~written.any(dim=-1), -math.inf))
        return torch.cat(parts, dim=-1)

    def notes(self) -> list[str]:
        """How many answers cannot be written, which score -inf."""
        unwritable = int((self.answers[:, 1:] < 0).all(dim=1).sum())
        return [f"{unwritable} answers have words that it cannot write"] if unwritable else []

    def loss(
        self, decoder: TextDecoder, memory: Memory, questions: Tensor, real: Tensor, targets: Tensor
    ) -> Tensor:
        """Cross-entropy of the answers that are right, each by its share of what is right.

        Questions without a right answer that can be written teach nothing.
        """
        writable = (self.answers[:, 1:] >= 0).any(dim=-1)
        targets = targets * writable * real.any(dim=-1, keepdim=True)
        most = max(1, int((targets > 0).sum(dim=-1).max()))
        right, chosen = targets.topk(most)
        tokens = self.answers[chosen]
        longest = int((tokens >= 0).sum(dim=-1).max())
        tokens = tokens[..., : max(longest, 2)]
        targets_of = tokens[..., 1:]
        counted = (targets_of >= 0) & (right > 0).unsqueeze(-1)
        shares = right / right.sum(dim=-1, keepdim=True).clamp(min=1e-12)
        prefix = decoder.begin(questions, memory, real=real)
        hidden = decoder.follow(tokens[..., :-1].clamp(min=0), prefix)
        taught = (right > 0).any(dim=-1).sum().clamp(min=1)
        weights = (shares / taught).unsqueeze(-1).expand_as(counted)[counted]
        words = decoder.token_embedding.weight
        return linear_cross_entropy(hidden[counted], words, targets_of[counted], weights)


def soft_answer_loss(logits: Tensor, targets: Tensor, there: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, summed over answers, mean over questions.

    Teney et al. 2018 (arXiv:1708.02711, section 3.6).

    Args:
        logits: ``(B, C, A)``.
        targets: ``(B, C, A)``, in [0, 1].
        there: ``(B, C)``, False where an image has fewer questions than others.
    """
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses.sum(dim=-1) * there).sum() / there.sum().clamp(min=1)


def exclusive_answer_loss(logits: Tensor, targets: Tensor, there: Tensor) -> Tensor:
    """Cross-entropy of the softmax over answers, mean over questions that have a right one.

    Args:
        logits: ``(B, C, A)``.
        targets: ``(B, C, A)``, in [0, 1]; of each question their share of its sum counts.
        there: ``(B, C)``, False where an image has fewer questions than others.
    """
    whole = targets.sum(dim=-1, keepdim=True)
    taught = there & (whole > 0).squeeze(-1)
    shares = targets / whole.clamp(min=1e-12)
    losses = -(shares * logits.float().log_softmax(dim=-1)).sum(dim=-1)
    return (losses * taught).sum() / taught.sum().clamp(min=1)
