"""CaptioningModule: Lightning trains a captioner and scores what it writes."""

from collections.abc import Callable

from vlm.decoding import BeamSearch, Strategy
from vlm.models.backbone import FrozenBackbone
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, RegionEncoder
from vlm.models.imported import ImportedRegions
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.caption_task import CaptionTask
from vlm.training.module import VisionLanguageModule
from vlm.training.objectives import CrossEntropy, Objective


class CaptioningModule(VisionLanguageModule):
    """A frozen backbone, a captioner, how it learns and how it writes.

    Encoder and decoder are given as classes with everything decided but their input
    size, which follows from the backbone and the tokenizer and so cannot be wrong.

    Args:
        tokenizer: text to ids and back.
        backbone: images to regions, or what stands in its place where they were imported.
        encoder: makes the region encoder for a backbone's width.
        decoder: makes the text decoder for a vocabulary's size.
        objective: what training minimises.
        decoding: how captions are written in validation, test and prediction.
        learning_rate: of AdamW at its peak.
        weight_decay: of AdamW, on matrices alone.
        warmup: share of all steps in which the learning rate rises, in [0, 1); it
            falls along a cosine to 0 afterwards.
        seed: of dropout.

    Raises:
        InputError: if captions may be written that the decoder has no positions for, or
            an option is out of its range.
    """

    def __init__(
        self,
        tokenizer: CaptionTokenizer,
        backbone: FrozenBackbone | ImportedRegions,
        *,
        encoder: Callable[[int], RegionEncoder | BlindEncoder] = RegionEncoder,
        decoder: Callable[[int], TextDecoder] = TextDecoder,
        objective: Objective = CrossEntropy(),
        decoding: Strategy = BeamSearch(),
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        seed: int = 0,
    ) -> None:
        captioner = Captioner(encoder(backbone.width), decoder(len(tokenizer)))
        task = CaptionTask(captioner, tokenizer, objective=objective, decoding=decoding)
        super().__init__(
            tokenizer,
            backbone,
            captioner,
            {task: 1.0},
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup=warmup,
            seed=seed,
        )

    @property
    def objective(self) -> Objective:
        """What training on captions minimises."""
        return self.captioning.objective

    @property
    def decoding(self) -> Strategy:
        """How captions are written."""
        return self.captioning.decoding
