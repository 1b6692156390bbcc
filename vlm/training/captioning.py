"""CaptioningModule: Lightning trains a captioner and scores what it writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import torch
from torch import Tensor, distributed, nn

from vlm.data.augmentation import seed_of
from vlm.data.batches import CaptionBatch
from vlm.data.datamodules import SPLITS_OF_STAGE, CaptionData
from vlm.data.sets.guard import refuse_shared
from vlm.decoding import BeamSearch, Decoded, SpecialTokens, Strategy
from vlm.errors import InputError
from vlm.explain.maps import CaptionMaps, replay
from vlm.extract import geometry_of
from vlm.metrics import CaptionScores, score_captions
from vlm.models.backbone import FrozenBackbone
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, RegionEncoder
from vlm.models.imported import ImportedRegions
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training import checkpoint as checkpoints
from vlm.training.objectives import CrossEntropy, Objective
from vlm.training.optimisation import adamw_with_cosine, training_steps


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


class CaptioningModule(L.LightningModule):
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
        objective: Objective = CrossEntropy(),  # noqa: B008  frozen
        decoding: Strategy = BeamSearch(),  # noqa: B008  frozen
        learning_rate: float = 5e-4,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.backbone = backbone
        self.captioner = Captioner(encoder(backbone.width), decoder(len(tokenizer)))
        self.objective = objective
        self.decoding = decoding
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.seed = seed
        self.boxes = ""
        self.scores: CaptionScores | None = None
        self.results: list[CaptionResult] = []
        if not 0 <= warmup < 1:
            raise InputError(f"expected warmup in [0, 1), got {warmup}; give a share of all steps")
        positions = self.captioner.decoder.max_length
        if decoding.max_length > positions:
            raise InputError(
                f"decoding.max_length={decoding.max_length} is more than the decoder's "
                f"max_length={positions}; lower the one or train with more of the other"
            )

    @classmethod
    def load(cls, path: str | Path, *, backbone: str | None = None) -> "CaptioningModule":
        """The module of a checkpoint, on the CPU, ready to write.

        Args:
            path: of the checkpoint.
            backbone: folder in timm's local-dir layout or weight file that holds the
                checkpoint's backbone, where its own source is gone.

        Raises:
            InputError: if the file is not a checkpoint of ours or its backbone cannot be had.
        """
        content = checkpoints.read(path)
        recipe = content[checkpoints.SECTION]
        settings = dict(recipe["settings"])
        module = cls(
            CaptionTokenizer(recipe["tokenizer"]),
            checkpoints.load_backbone(recipe, backbone),
            encoder=lambda _: cast(
                "RegionEncoder", checkpoints.rebuild(recipe["encoder"], nn.Module)
            ),
            decoder=lambda _: checkpoints.rebuild(recipe["decoder"], TextDecoder),
            objective=checkpoints.rebuild(settings.pop("objective"), Objective),
            decoding=checkpoints.rebuild(settings.pop("decoding"), Strategy),
            **settings,
        )
        module.boxes = recipe["boxes"]
        checkpoints.load_state(module, content)
        return module.eval()

    @property
    def data(self) -> CaptionData:
        """The data module of the trainer."""
        return self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]

    def setup(self, stage: str) -> None:
        """Checks all images of the stage, and that a store holds what the backbone would see."""
        backbone, store = self.backbone, self.data.store
        if store is None:
            self.data.look_with(geometry_of(backbone))
        else:
            store.require(backbone.name, backbone.hash, backbone.geometry)
            self.boxes = store.manifest.boxes
        if self.trainer.is_global_zero:
            for split in SPLITS_OF_STAGE[stage]:
                self.data.check_images(split)
            if stage == "fit":
                refuse_shared(self.data.samples("train"), self.data.samples("val"), split="val")

    def training_step(self, batch: CaptionBatch, index: int) -> Tensor:
        """The objective on one batch; its dropout is a pure function of (seed, step)."""
        torch.manual_seed(seed_of(self.seed, self.global_step, index, self.global_rank))
        loss = self._loss(self.objective, batch)
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.image_ids))
        return loss

    def validation_step(self, batch: CaptionBatch, index: int) -> None:
        """Plain cross-entropy, and captions to be scored."""
        loss = self._loss(CrossEntropy(label_smoothing=0.0), batch)
        self.log("val/loss", loss, batch_size=len(batch.image_ids), sync_dist=True)
        self.results += self.caption(batch)

    def test_step(self, batch: CaptionBatch, index: int) -> None:
        """Captions to be scored."""
        self.results += self.caption(batch)

    def predict_step(self, batch: CaptionBatch, index: int) -> list[CaptionResult]:
        """Captions of images that need no references."""
        results = self.caption(batch)
        self.results += results
        return results

    def on_validation_epoch_start(self) -> None:
        """Forgets the captions of the pass before."""
        self.results, self.scores = [], None

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Scores all captions of the split, each image once."""
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """Scores all captions of the split, each image once."""
        self._score("test")

    def on_predict_epoch_end(self) -> None:
        """Brings the captions of all processes together."""
        self.results = self._gathered("predict")

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine, over what is trained."""
        return adamw_with_cosine(
            self.captioner,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            steps=training_steps(self.trainer, len(self.data.train_dataloader())),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the recipe that rebuilds this module."""
        data = self.trainer.datamodule if self._trainer else None  # pyright: ignore
        checkpoint[checkpoints.SECTION] = checkpoints.section(self, data)

    def look(self, images: Tensor | RegionFeatures) -> RegionFeatures:
        """Region features of uint8 images, or those that a store kept.

        Raises:
            InputError: if the model was trained on boxes too, which images alone do not bring.
        """
        if isinstance(images, RegionFeatures):
            return images
        if self.boxes:
            raise InputError(
                f"this model was trained on boxes beside the grid ({self.boxes}), which a photo "
                "does not bring; extract a store with --boxes and give it as data.store"
            )
        return self.backbone(images.to(self.backbone.mean.dtype) / 255)

    @torch.inference_mode()
    def write(self, regions: RegionFeatures) -> Decoded:
        """Captions of regions by the module's strategy, as tokens."""
        tokenizer, batch = self.tokenizer, len(regions.features)
        special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)
        state = self.captioner.start(self.captioner.encode(regions))
        return self.decoding.decode(state, batch=batch, special=special, device=self.device)

    @torch.inference_mode()
    def attend(self, image: str | Path) -> CaptionMaps:
        """The caption of an image file, and where each of its words looked.

        Raises:
            InputError: if the file cannot be used.
        """
        pixels = geometry_of(self.backbone).load(image).unsqueeze(0).to(self.device)
        regions = self.look(pixels)
        tokens = self.write(regions).tokens[:, 0].tolist()
        return replay(self.captioner, self.tokenizer, regions, tokens)[0]

    def caption(self, batch: CaptionBatch) -> list[CaptionResult]:
        """The best caption of each image."""
        decoded = self.write(self.look(batch.images))
        best = [tokens.tolist() for tokens in decoded.tokens[:, 0]]
        texts = [self.tokenizer.decode(tokens) for tokens in best]
        sums = decoded.sums[:, 0].tolist()
        return [CaptionResult(*row) for row in zip(batch.image_ids, texts, sums, strict=True)]

    def _loss(self, objective: Objective, batch: CaptionBatch) -> Tensor:
        tokens = self.tokenizer.batch(batch.captions, max_length=self.captioner.decoder.max_length)
        ignored = (self.tokenizer.pad, self.tokenizer.unknown)
        regions = self.look(batch.images)
        device_tokens = torch.from_numpy(tokens).to(regions.features.device)
        return objective.loss(self.captioner, regions, device_tokens, ignored=ignored)

    def _score(self, split: str) -> None:
        self.results = self._gathered(split)
        references = {s.image_id: s.captions for s in self.data.samples(split)}
        candidates = {result.image_id: result.caption for result in self.results}
        trainer = self.trainer
        limit = trainer.limit_test_batches if split == "test" else trainer.limit_val_batches
        if trainer.sanity_checking or limit not in (None, 1.0) or isinstance(limit, int):
            references = {key: references[key] for key in candidates}
        self.scores = score_captions(candidates, references)
        self.log_dict({f"{split}/{name}": value for name, value in self.scores.corpus.items()})

    def _gathered(self, split: str) -> list[CaptionResult]:
        """The captions of all processes, each image once, in the order of the split."""
        parts: list[Sequence[CaptionResult]] = [self.results]
        if self.trainer.world_size > 1:
            parts = [()] * self.trainer.world_size
            distributed.all_gather_object(parts, self.results)
        by_id = {result.image_id: result for part in parts for result in part}
        order = (sample.image_id for sample in self.data.samples(split))
        return [by_id[key] for key in order if key in by_id]
