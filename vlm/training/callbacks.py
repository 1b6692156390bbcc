"""What a run leaves behind: its record, what it said and scored, tables of samples."""

import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_only

from vlm import __version__
from vlm.files import write_json
from vlm.training.module import VisionLanguageModule
from vlm.training.recipe import describe

PACKAGES = ("torch", "torchvision", "timm", "lightning", "tokenizers", "numpy", "pillow")


class ResultWriter(L.Callback):
    """What a module said in validation, test and prediction, and its scores, as files.

    Writes ``results.json`` in COCO's result format, ``answers.json`` in VQA's, and, where there
    is something to score by, ``metrics.json``, by task where a module has several; after a
    test also what people look at. While training the files are the latest validation's.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the validation's."""
        if not trainer.sanity_checking:
            self._write(cast("VisionLanguageModule", pl_module))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the test's."""
        module = cast("VisionLanguageModule", pl_module)
        self._write(module)
        if trainer.is_global_zero:
            for task in module.tasks:
                task.write_report(self.folder, module.data.samples("test"))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the prediction's."""
        self._write(cast("VisionLanguageModule", pl_module))

    @rank_zero_only
    def _write(self, module: VisionLanguageModule) -> None:
        (self.folder / "metrics.json").unlink(missing_ok=True)  # never scores of other results
        for task in module.tasks:
            if task.results or len(module.tasks) == 1:
                write_json(self.folder / task.file, task.rows())
        records = {task.name: task.record for task in module.tasks if task.record is not None}
        if records:
            whole = records if len(module.tasks) > 1 else next(iter(records.values()))
            how = {"precision": module.trainer.precision}
            write_json(self.folder / "metrics.json", {**whole, **how})


class RunRecord(L.Callback):
    """What a run was: command line, seed, versions, data and backbone, as ``run.json``.

    Args:
        folder: where to.
        seed: of the run.
    """

    def __init__(self, folder: str | Path, *, seed: int) -> None:
        self.folder = Path(folder)
        self.seed = seed

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a training before its first step."""
        self._write("fit", cast("VisionLanguageModule", pl_module))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a validation that is none of a training's."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write("validate", cast("VisionLanguageModule", pl_module))

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a test."""
        self._write("test", cast("VisionLanguageModule", pl_module))

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a prediction."""
        self._write("predict", cast("VisionLanguageModule", pl_module))

    @rank_zero_only
    def _write(self, stage: str, module: VisionLanguageModule) -> None:
        record: dict[str, Any] = {
            "command": sys.argv,
            "stage": stage,
            "seed": self.seed,
            "versions": {"vlm": __version__, "python": platform.python_version()}
            | {name: metadata.version(name) for name in PACKAGES},
            "data": module.data.fingerprints(stage),
            "backbone": describe(module.backbone) | {"hash": module.backbone.hash},
        }
        signatures = {task.name: task.signature for task in module.tasks if task.signature}
        if stage == "fit" and signatures:
            record["objective"] = signatures
        write_json(self.folder / "run.json", record)


class SampleTable(L.Callback):
    """A table of what was said beside what people said after each validation, in wandb.

    Args:
        samples: rows of the table.
    """

    def __init__(self, samples: int = 16) -> None:
        self.samples = samples

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Logs the table where the logger can hold one."""
        if trainer.sanity_checking or not isinstance(trainer.logger, WandbLogger):
            return
        import wandb

        module = cast("VisionLanguageModule", pl_module)
        for task in module.tasks:
            columns, rows = task.table(module.data.samples("val"), self.samples)
            data = [[wandb.Image(str(path)), *cells] for path, *cells in rows]
            trainer.logger.log_table(f"val/{task.name}", columns=["image", *columns], data=data)
