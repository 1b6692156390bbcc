"""AnsweringModule: Lightning trains a decoder that reads questions and answers them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vlm.decoding import Strategy
from vlm.errors import InputError
from vlm.models.answer_heads import AnswerClassifier, AnswerHead
from vlm.models.answerer import QuestionAnswerer
from vlm.models.backbone import FrozenBackbone
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, RegionEncoder
from vlm.models.imported import ImportedRegions
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.answer_task import AnswerTask
from vlm.training.module import VisionLanguageModule

LONGEST_ANSWER = 32  # tokens, start and end included


class AnsweringModule(VisionLanguageModule):
    """A frozen backbone, and a decoder that reads questions and answers them.

    Encoder, decoder and head are given as classes with everything decided but their input
    size, which follows from the backbone, the tokenizer and the answers.

    Args:
        tokenizer: text to ids and back.
        answers: the vocabulary of answers.
        backbone: images to regions, or what stands in its place where they were imported.
        encoder: makes the region encoder for a backbone's width.
        decoder: makes the text decoder for a vocabulary's size.
        head: makes what answers, for the decoder's width and the answers' tokens.
        decoding: how an answer is written freely; without it the vocabulary is ranked.
        learning_rate: of AdamW at its peak.
        weight_decay: of AdamW, on matrices alone.
        warmup: share of all steps in which the learning rate rises, in [0, 1); it
            falls along a cosine to 0 afterwards.
        seed: of dropout.

    Raises:
        InputError: if an option is out of its range or does not fit the head.
    """

    def __init__(
        self,
        tokenizer: CaptionTokenizer,
        answers: tuple[str, ...],
        backbone: FrozenBackbone | ImportedRegions,
        *,
        encoder: Callable[[int], RegionEncoder | BlindEncoder] = RegionEncoder,
        decoder: Callable[[int], TextDecoder] = TextDecoder,
        head: Callable[[int, Tensor], AnswerHead] = AnswerClassifier,
        decoding: Strategy | None = None,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        seed: int = 0,
    ) -> None:
        reader = decoder(len(tokenizer))
        answering_head = head(reader.width, spelled(answers, tokenizer))
        answerer = QuestionAnswerer(encoder(backbone.width), reader, answering_head)
        task = AnswerTask(answerer, tokenizer, answers, decoding=decoding)
        super().__init__(
            tokenizer,
            backbone,
            answerer,
            {task: 1.0},
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
            seed=seed,
        )

    @property
    def decoding(self) -> Strategy | None:
        """How an answer is written freely."""
        return self.answering.decoding


def spelled(answers: Sequence[str], tokenizer: CaptionTokenizer) -> Tensor:
    """The tokens of answers as a head takes them: ``(A, T)`` ids, -1 behind.

    An answer with a word that the tokenizer does not know cannot be written: -1 alone.

    Raises:
        InputError: if there are no answers, as of data without questions.
    """
    if not answers:
        raise InputError(
            "there are no answers to choose from; give data with questions and answers "
            "(vlm.data.VQAData, vlm.data.JointData)"
        )
    ids = tokenizer.encode(answers, max_length=LONGEST_ANSWER)
    rows = [[] if tokenizer.unknown in row else row for row in ids]
    longest = max(2, *map(len, rows))
    return torch.tensor([row + [-1] * (longest - len(row)) for row in rows])
