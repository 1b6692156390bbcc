"""Looks: where words of a validation's captions looked, as pictures and, by masks, as a score."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import lightning as L
import numpy as np
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from PIL import Image
from torch import distributed

from vlm.data.batches import Batch
from vlm.data.datamodules import splits_read
from vlm.data.images import check_images, load_image
from vlm.errors import InputError
from vlm.explain.maps import replay, require_reduction
from vlm.explain.overlay import strip
from vlm.explain.passages import caption_passages
from vlm.files import write_json
from vlm.formats.ids import Id, shown
from vlm.formats.instances import read_scenes
from vlm.formats.word_maps import LAST
from vlm.metrics.grounding_scores import GroundingScores, reduced
from vlm.metrics.nouns import Named, Nouns, SceneObjects, Word, names_of_objects
from vlm.models.encoder import Memory
from vlm.training.module import VisionLanguageModule

LOGGED = ("pointing by region", "pointing by centre", "mass in mask")
NOTHING = Named([], [], 0, 0)


class _Scored(NamedTuple):
    """A caption that names something that its image shows."""

    image_id: Id
    boxes: NDArray
    rows: dict[str, NDArray]
    words: list[Word]


class Looks(L.Callback):
    """Draws where captions of a validation looked, and scores it where objects are known.

    It replays what was written, so it is there only where it is asked for:
    ``--trainer.callbacks+=vlm.training.Looks``. Pictures of the first images go to
    ``looks/epoch-N`` of the run with a table of them, or to wandb where it logs. With instances,
    scores of the reduction are logged and those of all that weights give written to
    ``grounding.json``; images that the instances do not list are not scored.

    Args:
        instances: COCO instances of the validation's images, found by their file names.
        synonyms: names of the categories, lines of ``class, synonym, synonym``; ours if not given.
        reduction: that is drawn and logged.
        samples: pictures, 0 for none.

    Raises:
        InputError: if a file cannot be read, or there are fewer than 0 samples.
    """

    def __init__(
        self,
        instances: str | None = None,
        *,
        synonyms: str | None = None,
        reduction: str = LAST,
        samples: int = 16,
    ) -> None:
        if samples < 0:
            raise InputError(f"expected 0 pictures or more, got samples={samples}")
        self.instances = instances
        self.synonyms = synonyms
        self.reduction = reduction
        self.samples = samples
        self._objects: dict[str, SceneObjects] = {}
        self._several: set[str] = set()  # names that several images have
        self._scored: list[_Scored] = []
        self._drawn: list[tuple[str, str, Image.Image]] = []
        if instances is not None:
            scenes, categories = read_scenes(Path(instances))
            names = names_of_objects(None if synonyms is None else Path(synonyms))
            nouns = Nouns(categories, names)
            self._objects = {Path(each.name).name: SceneObjects(each, nouns) for each in scenes}
            counts = Counter(Path(each.name).name for each in scenes)
            self._several = {name for name, count in counts.items() if count > 1}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Holds that the reduction is there, and the first photos, whatever a store has of them.

        Raises:
            InputError: naming what is not there.
        """
        module = cast("VisionLanguageModule", pl_module)
        require_reduction(module.captioning.captioner, self.reduction)
        if "val" in splits_read(trainer, stage):
            samples = module.data.samples("val")
            unclear = [s.image_id for s in samples if s.path.name in self._several]
            if unclear:
                raise InputError(
                    f"{self.instances} lists several images of the names of {shown(unclear)}; give "
                    "instances in which each of the validation's images has a name of its own"
                )
            photos = [sample.path for sample in samples[: self.samples]]
            check_images(photos, origin="vlm.training.Looks (samples=0 draws over none)")

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the validation before."""
        self._scored, self._drawn = [], []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Replays captions that were just written, those that are drawn or that name an object."""
        module, samples = cast("VisionLanguageModule", pl_module), batch.samples
        task = module.captioning
        captions = [result.caption for result in task.results[-len(samples) :]]
        written = zip(task.written.tokens[:, 0].tolist(), task.written.lengths[:, 0], strict=True)
        ids = [tokens[:length] for tokens, length in written]
        passages = caption_passages(task.captioner, task.tokenizer, module.looked, ids)
        named = {
            row: found
            for row, sample in enumerate(samples)
            if (found := self._named(sample, passages[row].words)).words
        }
        spoken = [row for row, passage in enumerate(passages) if passage.words]
        drawn = spoken[: self.samples - len(self._drawn)] if trainer.is_global_zero else []
        rows = sorted({*named, *drawn})
        if not rows:
            return
        memory = Memory(*(part[rows] for part in module.memory))
        looks = replay([passages[row] for row in rows], memory, self.reduction)
        maps = dict(zip(rows, looks, strict=True))
        for row, found in named.items():
            each = reduced(maps[row], found.mentions)
            self._scored.append(_Scored(samples[row].image_id, maps[row].boxes, each, found.words))
        for row in drawn:
            path = samples[row].path
            picture = strip(load_image(path), maps[row])
            self._drawn.append((path.name, captions[row], picture))

    def _named(self, sample: Any, words: Sequence[str]) -> Named:
        """What a caption names of the objects in its image; nothing where they are not listed."""
        objects = self._objects.get(sample.path.name)
        return NOTHING if objects is None else objects.named(words)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the scores of all processes, and the pictures of the first."""
        scored: Sequence[_Scored] = self._scored
        if trainer.world_size > 1:
            parts: list[Sequence[_Scored]] = [()] * trainer.world_size
            distributed.all_gather_object(parts, scored)
            scored = [each for part in parts for each in part]
        if trainer.sanity_checking:
            return
        if scored:
            record = _record({each.image_id: each for each in scored}.values())
            for name in LOGGED:
                value = record[self.reduction][name]
                pl_module.log(f"val/{name}", value, rank_zero_only=True)
            if trainer.is_global_zero:
                write_json(Path(trainer.default_root_dir) / "grounding.json", record)
        if self._drawn:
            self._show(trainer)

    def _show(self, trainer: L.Trainer) -> None:
        if isinstance(trainer.logger, WandbLogger):
            import wandb

            rows = [[name, said, wandb.Image(picture)] for name, said, picture in self._drawn]
            columns = ["image", "caption", self.reduction]
            trainer.logger.log_table("val/looks", columns=columns, data=rows)
            return
        folder = Path(trainer.default_root_dir) / "looks" / f"epoch-{trainer.current_epoch}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(["image", "caption", "picture"])
            for number, (name, said, picture) in enumerate(self._drawn):
                target = f"{number:02d}-{Path(name).stem}.png"
                picture.save(folder / target)
                table.writerow([name, said, target])


def _record(scored: Iterable[_Scored]) -> dict[str, Any]:
    """Scores of every reduction over all captions, beside ceiling and baselines."""
    scores: GroundingScores | None = None
    for image_id, boxes, rows, words in scored:
        scores = scores or GroundingScores(list(rows))
        scores.add(image_id, boxes, np.stack([*rows.values()]), words)
    assert scores is not None
    return scores.record()
