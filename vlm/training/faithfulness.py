"""Faithfulness: which maps tell what the model's words hang on, measured in a test."""

from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.utilities import rank_zero_only

from vlm.data.batches import Batch
from vlm.errors import InputError
from vlm.explain.curves import STEPS, Areas, ranking, scored
from vlm.explain.maps import reductions_of, require_reduction
from vlm.files import write_json
from vlm.formats.ids import Id
from vlm.training.module import VisionLanguageModule


class Faithfulness(L.Callback):
    """Ranks reductions by deletion and insertion on the first images of a test.

    It runs the model some hundred times an image, so it is not there unless a test asks for it:
    ``--trainer.callbacks+=vlm.training.Faithfulness``. Logs the areas under both curves, and
    writes them and the sample's ids to ``faithfulness.json``; of several processes the first
    measures, of its own share.

    Args:
        images: of the sample, the first ones that are tested.
        reductions: that are ranked; all but single heads when not given.

    Raises:
        InputError: if there is no image in the sample.
    """

    def __init__(self, images: int = 16, reductions: list[str] | None = None) -> None:
        if images < 1:
            raise InputError(f"a sample needs 1 image or more, got images={images}")
        self.images = images
        self.reductions = reductions
        self._ids: list[Id] = []
        self._areas: dict[str, list[dict[str, Areas]]] = {}

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forgets the test before, and holds that all reductions are there."""
        network = cast("VisionLanguageModule", pl_module).network
        self._ids, self._areas = [], {}
        for name in self._names(network):
            require_reduction(network, name)

    @rank_zero_only
    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Measures the images of the sample that are in this batch."""
        module = cast("VisionLanguageModule", pl_module)
        samples = batch.samples[: self.images - len(self._ids)]
        if not samples:
            return
        regions, names = module.looked, self._names(module.network)
        for row, sample in enumerate(samples):
            one = regions.each(lambda part, row=row: part[row, None])
            for task in module.tasks:
                passages = task.passages(one, sample)
                areas = self._areas.setdefault(task.name, [])
                areas += [scored(passage, names) for passage in passages]
            self._ids.append(sample.image_id)

    @rank_zero_only
    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the means and writes them, the reduction with the lowest deletion first."""
        ranked = {name: ranking(areas) for name, areas in self._areas.items()}
        for task, rows in ranked.items():
            for name, areas in rows.items():
                for curve, area in areas._asdict().items():
                    label = f"test/{curve} of {task}: {name}"
                    pl_module.log(label, area, rank_zero_only=True)
        record: dict[str, Any] = {"images": len(self._ids), "ids": self._ids, "steps": STEPS}
        for task, rows in ranked.items():
            record[task] = {name: areas._asdict() for name, areas in rows.items()}
        write_json(Path(trainer.default_root_dir) / "faithfulness.json", record)

    def _names(self, network: Any) -> list[str]:
        """The reductions that are ranked."""
        if self.reductions is not None:
            return self.reductions
        return [name for name in reductions_of(network) if "-head-" not in name]
