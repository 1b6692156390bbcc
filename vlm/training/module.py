"""VisionLanguageModule: Lightning trains a network over a frozen backbone, whatever its tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import lightning as L
import torch
from torch import Tensor

from vlm.data.augmentation import seed_of
from vlm.data.batches import Batch
from vlm.data.datamodules import ImageData, splits_read
from vlm.data.sets.guard import refuse_shared
from vlm.errors import InputError
from vlm.explain.maps import explain
from vlm.explain.passages import Passage
from vlm.extract import geometry_of
from vlm.formats.word_maps import LAST, WordMaps
from vlm.models.answerer import QuestionAnswerer
from vlm.models.backbone import FrozenBackbone
from vlm.models.captioner import Captioner
from vlm.models.imported import ImportedRegions
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training import checkpoint as checkpoints
from vlm.training.answer_task import AnswerTask
from vlm.training.caption_task import CaptionTask
from vlm.training.objectives import Loss
from vlm.training.optimisation import adamw_with_cosine, training_steps
from vlm.training.recipe import arguments, class_of
from vlm.training.task import Task, joint_loss

Some = TypeVar("Some", bound=Task)


class VisionLanguageModule(L.LightningModule):
    """A frozen backbone, a network over its regions, and the tasks that the network learns.

    Args:
        tokenizer: text to ids and back.
        backbone: images to regions, or what stands in its place where they were imported.
        network: encoder and decoder, and what else the tasks need.
        tasks: each with its share of the loss.
        learning_rate: of AdamW at its peak.
        weight_decay: of AdamW, on matrices alone.
        warmup: share of all steps in which the learning rate rises, in [0, 1); a cosine follows.
        seed: of dropout.

    Raises:
        InputError: if the warm-up is out of its range.
    """

    looked: RegionFeatures  # at the batch scored last, which callbacks find with its memory

    def __init__(
        self,
        tokenizer: CaptionTokenizer,
        backbone: FrozenBackbone | ImportedRegions,
        network: Captioner | QuestionAnswerer,
        tasks: Mapping[Task, float],
        *,
        learning_rate: float,
        weight_decay: float,
        warmup: float,
        seed: int,
    ) -> None:
        super().__init__()
        if not 0 <= warmup < 1:
            raise InputError(f"expected warmup in [0, 1), got {warmup}; give a share of all steps")
        self.tokenizer = tokenizer
        self.backbone = backbone
        self.network = network
        self.tasks = tasks
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup = warmup
        self.seed = seed
        self.boxes = ""

    @classmethod
    def load(cls, path: str | Path, *, backbone: str | None = None) -> "VisionLanguageModule":
        """The module of a checkpoint, on the CPU, ready to use.

        Args:
            path: of the checkpoint.
            backbone: folder in timm's local-dir layout or weight file that holds the
                checkpoint's backbone, where its own source is gone.

        Raises:
            InputError: if the file is not a checkpoint of ours or its backbone cannot be had.
        """
        content = checkpoints.read(path)
        recipe = content[checkpoints.SECTION]
        kind = cast("type[VisionLanguageModule]", class_of(recipe["task"]))
        answers = {} if recipe["answers"] is None else {"answers": tuple(recipe["answers"])}
        module = kind(
            tokenizer=CaptionTokenizer(recipe["tokenizer"]),
            backbone=checkpoints.load_backbone(recipe, backbone),
            **answers,
            **arguments(recipe),
        )
        module.boxes = recipe["boxes"]
        checkpoints.load_state(module, content)
        module.on_load_checkpoint(content)
        return module.eval()

    @property
    def data(self) -> ImageData:
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
            splits = splits_read(self.trainer, stage)
            for split in splits:
                self.data.check_images(split)
            if stage == "fit" and "val" in splits:
                refuse_shared(self.data.samples("train"), self.data.samples("val"), split="val")
        if stage == "fit":
            for task in self.tasks:
                task.prepare(self.data.samples("train"))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The tasks' losses on one batch; dropout is a pure function of (seed, step)."""
        torch.manual_seed(seed_of(self.seed, self.global_step, index, self.global_rank))
        memory = self.network.encode(self.look(batch.images))
        losses = {task: task.loss(memory, batch.samples) for task in self.tasks}
        return self._logged(losses, "train", batch)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Plain losses, and what the tasks say, to be scored."""
        self.looked = self.look(batch.images)
        memory = self.memory = self.network.encode(self.looked)
        losses = {task: task.plain_loss(memory, batch.samples) for task in self.tasks}
        self._logged(losses, "val", batch)
        for task in self.tasks:
            task.results += task.respond(memory, batch.samples)

    def test_step(self, batch: Batch, index: int) -> None:
        """What the tasks say, to be scored."""
        self.predict_step(batch, index)

    def predict_step(self, batch: Batch, index: int) -> list[Any]:
        """What the tasks say of images that need no labels."""
        with torch.inference_mode():
            self.looked = self.look(batch.images)
            memory = self.memory = self.network.encode(self.looked)
        said = {task: task.respond(memory, batch.samples) for task in self.tasks}
        for task, results in said.items():
            task.results += results
        return [result for results in said.values() for result in results]

    def on_validation_epoch_start(self) -> None:
        """Forgets the pass before."""
        for task in self.tasks:
            task.results, task.record = [], None

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self) -> None:
        """Scores all results of the split, each once."""
        self._score("val")

    def on_test_epoch_end(self) -> None:
        """Scores all results of the split, each once."""
        self._score("test")

    def on_predict_epoch_end(self) -> None:
        """Brings the results of all processes together."""
        for task in self.tasks:
            task.results = task.gathered(self.data.samples("predict"), self.trainer.world_size)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine, over what is trained."""
        return adamw_with_cosine(
            self.network,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            steps=training_steps(self.trainer, len(self.data.train_dataloader())),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the recipe that rebuilds this module."""
        data = self.trainer.datamodule if self._trainer else None  # pyright: ignore
        checkpoint[checkpoints.SECTION] = checkpoints.section(self, data)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes what validations fitted, which is neither a weight nor an option."""
        if (temperature := checkpoint[checkpoints.SECTION]["temperature"]) is not None:
            self.answering.temperature = temperature

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

    def look_at(self, images: Sequence[str | Path]) -> RegionFeatures:
        """Region features of image files.

        Raises:
            InputError: if a file cannot be used.
        """
        geometry = geometry_of(self.backbone)
        pixels = torch.stack([geometry.load(image) for image in images])
        return self.look(pixels.to(self.device))

    @property
    def captioning(self) -> CaptionTask:
        """The task of writing captions.

        Raises:
            InputError: if the module never learnt it.
        """
        return self._task(CaptionTask, "answers questions and writes no captions; use vlm answer")

    @property
    def answering(self) -> AnswerTask:
        """The task of answering questions.

        Raises:
            InputError: if the module never learnt it.
        """
        return self._task(AnswerTask, "writes captions and answers no questions; use vlm caption")

    def attend(
        self,
        image: str | Path,
        question: str | None = None,
        *,
        caption: str | None = None,
        reduction: str = LAST,
    ) -> WordMaps:
        """Where each word looked: of a caption, written or given, or of a question and its answer.

        Raises:
            InputError: if one of these cannot be used, or the module never learnt the task.
        """
        return explain(self.passage(image, question, caption=caption), reduction)

    def passage(
        self, image: str | Path, question: str | None = None, *, caption: str | None = None
    ) -> Passage:
        """The same text over the same image, for all its maps and curves."""
        if question is None:
            passage = self.captioning.passage(self.look_at([image]), caption)
        else:
            passage = self.answering.passage(self.look_at([image]), question)
        return passage._replace(image=str(image))

    def answer(self, image: str | Path, question: str) -> list[tuple[str, float]]:
        """The best answers to a question about an image file, with their probabilities.

        Raises:
            InputError: if one of them cannot be used, or the module answers no questions.
        """
        self.answering.require(question)
        with torch.inference_mode():
            memory = self.network.encode(self.look_at([image]))
        result = self.answering.answer(memory, [[question]])[0]
        return list(zip(result.answers, result.probabilities, strict=True))

    def _task(self, kind: type[Some], otherwise: str) -> Some:
        for task in self.tasks:
            if isinstance(task, kind):
                return task
        raise InputError(f"this model {otherwise}, or give another checkpoint")

    def _logged(self, losses: Mapping[Task, Loss], stage: str, batch: Batch) -> Tensor:
        """The tasks' losses as one, which is logged with all that there is to know of it."""
        loss = joint_loss(losses, self.tasks)
        how: dict[str, Any] = {"batch_size": len(batch.samples), "sync_dist": stage == "val"}
        self.log(f"{stage}/loss", loss.value, prog_bar=stage == "train", **how)
        self.log_dict({f"{stage}/{name}": value for name, value in loss.logged.items()}, **how)
        return loss.value

    def _score(self, split: str) -> None:
        samples = self.data.samples(split)
        for task in self.tasks:
            task.results = task.gathered(samples, self.trainer.world_size)
            scores = task.score(samples, split) if task.results else {}
            self.log_dict({f"{split}/{name}": value for name, value in scores.items()})
