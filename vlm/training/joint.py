"""JointModule: Lightning trains one decoder to write captions and to answer questions."""

from collections.abc import Callable

from torch import Tensor

from vlm.decoding import BeamSearch, Strategy
from vlm.errors import InputError
from vlm.models.answer_heads import AnswerClassifier, AnswerHead
from vlm.models.answerer import QuestionAnswerer
from vlm.models.backbone import FrozenBackbone
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, RegionEncoder
from vlm.models.imported import ImportedRegions
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.answer_task import AnswerTask
from vlm.training.answering import spelled
from vlm.training.caption_task import CaptionTask
from vlm.training.module import VisionLanguageModule
from vlm.training.objectives import CrossEntropy, Objective


class JointModule(VisionLanguageModule):
    """A frozen backbone, one region encoder and one decoder, for captions and for answers.

    Each image is encoded once a step for both. Encoder, decoder and head are given as classes
    with everything decided but their input size.

    Args:
        tokenizer: text to ids and back.
        answers: the vocabulary of answers.
        backbone: images to regions, or what stands in its place where they were imported.
        encoder: makes the region encoder for a backbone's width.
        decoder: makes the text decoder for a vocabulary's size.
        head: makes what answers, for the decoder's width and the answers' tokens.
        answer_share: of the loss that answers have, in [0, 1]; captions have the rest.
        objective: what training on captions minimises.
        decoding: how captions are written.
        answer_decoding: how an answer is written freely; without it the vocabulary is ranked.
        learning_rate: of AdamW at its peak.
        weight_decay: of AdamW, on matrices alone.
        warmup: share of all steps in which the learning rate rises, in [0, 1); it
            falls along a cosine to 0 afterwards.
        seed: of dropout.

    Raises:
        InputError: if an option is out of its range or does not fit another.
    """

    def __init__(  # noqa: PLR0913  both tasks' options
        self,
        tokenizer: CaptionTokenizer,
        answers: tuple[str, ...],
        backbone: FrozenBackbone | ImportedRegions,
        *,
        encoder: Callable[[int], RegionEncoder | BlindEncoder] = RegionEncoder,
        decoder: Callable[[int], TextDecoder] = TextDecoder,
        head: Callable[[int, Tensor], AnswerHead] = AnswerClassifier,
        answer_share: float = 0.5,
        objective: Objective = CrossEntropy(),
        decoding: Strategy = BeamSearch(),
        answer_decoding: Strategy | None = None,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        seed: int = 0,
    ) -> None:
        if not 0 <= answer_share <= 1:
            raise InputError(f"expected answer_share in [0, 1], got {answer_share}; 0.5 is even")
        reader = decoder(len(tokenizer))
        answering_head = head(reader.width, spelled(answers, tokenizer))
        answerer = QuestionAnswerer(encoder(backbone.width), reader, answering_head)
        captioner = Captioner(answerer.encoder, answerer.decoder)
        captioning = CaptionTask(captioner, tokenizer, objective=objective, decoding=decoding)
        answering = AnswerTask(answerer, tokenizer, answers, decoding=answer_decoding)
        super().__init__(
            tokenizer,
            backbone,
            answerer,
            {captioning: 1 - answer_share, answering: answer_share},
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
            seed=seed,
        )
        self.answer_share = answer_share

    @property
    def objective(self) -> Objective:
        """What training on captions minimises."""
        return self.captioning.objective

    @property
    def decoding(self) -> Strategy:
        """How captions are written."""
        return self.captioning.decoding

    @property
    def answer_decoding(self) -> Strategy | None:
        """How an answer is written freely."""
        return self.answering.decoding
