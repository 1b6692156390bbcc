"""CaptionTask: captions learnt by an objective, written by a strategy, scored as COCO does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from vlm.decoding import Decoded, DecodingState, EnsembleState, SpecialTokens, Strategy
from vlm.errors import InputError
from vlm.explain.passages import Passage, caption_passage
from vlm.metrics import score_captions
from vlm.models.captioner import Captioner
from vlm.models.encoder import Memory
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.objectives import CrossEntropy, Loss, Objective
from vlm.training.recipe import describe
from vlm.training.task import Task


class CaptionResult(NamedTuple):
    """What was written about an image.

    Attributes:
        image_id: of the image.
        caption: the best one.
        log_probability: summed over its tokens, the end included.
    """

    image_id: int | str
    caption: str
    log_probability: float


class CaptionTask(Task[CaptionResult]):
    """Captions: learnt by an objective, written by a strategy, scored as COCO does.

    Args:
        captioner: that writes.
        tokenizer: of its text.
        objective: what training minimises.
        decoding: how captions are written.

    Raises:
        InputError: if captions may be written that the decoder has no positions for.
    """

    name, file = "captions", "results.json"
    written: Decoded  # of the batch that was responded to last, for callbacks

    def __init__(
        self,
        captioner: Captioner,
        tokenizer: CaptionTokenizer,
        *,
        objective: Objective,
        decoding: Strategy,
    ) -> None:
        super().__init__()
        self.captioner = captioner
        self.tokenizer = tokenizer
        self.objective = objective
        self.decoding = decoding
        positions = captioner.decoder.max_length
        lengths = {"decoding": decoding.max_length, "objective": objective.max_length}
        for option, longest in lengths.items():
            if longest > positions:
                raise InputError(
                    f"{option}.max_length={longest} is more than the decoder's "
                    f"max_length={positions}; lower the one or train with more of the other"
                )

    @property
    def signature(self) -> str:
        """The objective's."""
        return self.objective.signature

    def prepare(self, samples: Sequence[Any]) -> None:
        """The objective's look at the training set.

        Raises:
            InputError: if no image has a caption.
        """
        if not any(getattr(sample, "captions", ()) for sample in samples):
            raise InputError(
                f"none of the {len(samples)} training images has a caption; give data with "
                "captions (vlm.data.CaptionData, vlm.data.JointData)"
            )
        self.objective.prepare(samples, self.tokenizer, untaught=self.untaught)

    def loss(self, memory: Memory, samples: Sequence[Any]) -> Loss:
        """The objective."""
        return self.objective.loss(self.captioner, memory, samples, self.tokenizer)

    def plain_loss(self, memory: Memory, samples: Sequence[Any]) -> Loss:
        """Cross-entropy without smoothing."""
        plain = CrossEntropy(label_smoothing=0.0)
        return plain.loss(self.captioner, memory, samples, self.tokenizer)

    @torch.inference_mode()
    def write(self, memory: Memory, *others: DecodingState) -> Decoded:
        """Captions over a memory by the strategy, as tokens; others may write along."""
        tokenizer, features = self.tokenizer, memory.features
        special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)
        state = self.captioner.start(memory)
        if others:
            state = EnsembleState([state, *others])
        return self.decoding.decode(
            state, batch=len(features), special=special, device=features.device
        )

    def respond(self, memory: Memory, samples: Sequence[Any]) -> list[CaptionResult]:
        """The best caption of each image."""
        decoded = self.written = self.write(memory, *self.along(samples))
        texts = [self.tokenizer.decode(tokens.tolist()) for tokens in decoded.tokens[:, 0]]
        sums = decoded.sums[:, 0].tolist()
        return [CaptionResult(*row) for row in zip(self.keys(samples), texts, sums, strict=True)]

    def along(self, samples: Sequence[Any]) -> list[DecodingState]:
        """The states of other captioners that write along; of none."""
        del samples
        return []

    def passage(self, regions: RegionFeatures, caption: str | None = None) -> Passage:
        """The caption of one image, for its maps: the one that is given, or else written.

        Raises:
            InputError: if a given caption cannot be written.
        """
        if caption is None:
            tokens = self.write(self.captioner.encode(regions)).tokens[0, 0].tolist()
        else:
            tokens = self.spell(caption)
        return caption_passage(self.captioner, self.tokenizer, regions, tokens)

    def passages(self, regions: RegionFeatures, sample: Any) -> list[Passage]:
        """The caption that is written."""
        del sample
        return [self.passage(regions)]

    def spell(self, caption: str) -> list[int]:
        """Ids of a caption of people's, the end included, that this model can write as it stands.

        Raises:
            InputError: if it has no word, too many, or words that the tokenizer cannot write.
        """
        words, tokenizer = caption.split(), self.tokenizer
        alone = zip(words, tokenizer.encode(words, max_length=10**6), strict=True)
        strange = [word for word, ids in alone if tokenizer.unknown in ids]
        if strange:
            raise InputError(
                f"this model cannot write {', '.join(map(repr, dict.fromkeys(strange)))} of the "
                "caption; say it with words of the captions that it was trained on"
            )
        tokens = tokenizer.encode([caption], max_length=10**6)[0][1:]
        most = self.captioner.decoder.max_length
        if not 1 < len(tokens) <= most:
            raise InputError(
                f"expected a caption of 1 to {most - 1} tokens, got {len(tokens) - 1} in "
                f"{caption[:40]!r}; give a caption of that length"
            )
        return tokens

    def keys(self, samples: Sequence[Any]) -> list[Any]:
        """The ids of the images."""
        return [sample.image_id for sample in samples]

    def score(self, samples: Sequence[Any], split: str) -> dict[str, float]:
        """COCO's scores of the images that have a caption of people's."""
        del split
        candidates = {result.image_id: result.caption for result in self.results}
        references = {s.image_id: s.captions for s in samples if s.captions}
        references = {key: texts for key, texts in references.items() if key in candidates}
        if not references:
            return {}
        scores = score_captions({key: candidates[key] for key in references}, references)
        self.record = scores.record() | {"decoding": describe(self.decoding)}
        return scores.corpus

    def rows(self) -> list[dict[str, Any]]:
        """COCO's result format."""
        return [{"image_id": row.image_id, "caption": row.caption} for row in self.results]

    def table(self, samples: Sequence[Any], most: int) -> tuple[list[str], list[list[Any]]]:
        """Captions beside their references."""
        by_id = {sample.image_id: sample for sample in samples}
        rows = [
            [sample.path, result.caption, result.log_probability, "\n".join(sample.captions)]
            for result in self.results[:most]
            for sample in [by_id[result.image_id]]
        ]
        return ["caption", "log-probability", "references"], rows
