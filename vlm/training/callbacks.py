"""What a run leaves behind: its record, the captions it wrote, tables of samples."""

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
from vlm.training.captioning import CaptioningModule
from vlm.training.checkpoint import describe

PACKAGES = ("torch", "torchvision", "timm", "lightning", "tokenizers", "numpy", "pillow")


class ResultWriter(L.Callback):
    """Captions and scores of validation, test and prediction as files.

    Writes ``results.json`` in the COCO result format and, where there are references,
    ``metrics.json``; while training, the latest validation's.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the validation's."""
        if not trainer.sanity_checking:
            self._write(cast("CaptioningModule", pl_module))

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the test's."""
        self._write(cast("CaptioningModule", pl_module))

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the prediction's."""
        self._write(cast("CaptioningModule", pl_module))

    @rank_zero_only
    def _write(self, module: CaptioningModule) -> None:
        rows = [{"image_id": row.image_id, "caption": row.caption} for row in module.results]
        (self.folder / "metrics.json").unlink(missing_ok=True)  # never scores of other captions
        write_json(self.folder / "results.json", rows)
        if module.scores is not None:
            how = {"decoding": describe(module.decoding), "precision": module.trainer.precision}
            write_json(self.folder / "metrics.json", module.scores.record() | how)


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
        self._write("fit", cast("CaptioningModule", pl_module))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a validation that is none of a training's."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write("validate", cast("CaptioningModule", pl_module))

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a test."""
        self._write("test", cast("CaptioningModule", pl_module))

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the record of a prediction."""
        self._write("predict", cast("CaptioningModule", pl_module))

    @rank_zero_only
    def _write(self, stage: str, module: CaptioningModule) -> None:
        record: dict[str, Any] = {
            "command": sys.argv,
            "stage": stage,
            "seed": self.seed,
            "versions": {"vlm": __version__, "python": platform.python_version()}
            | {name: metadata.version(name) for name in PACKAGES},
            "data": module.data.fingerprints(stage),
            "backbone": describe(module.backbone) | {"hash": module.backbone.hash},
        }
        write_json(self.folder / "run.json", record)


class SampleTable(L.Callback):
    """A table of captions beside their references after each validation, in wandb.

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

        module = cast("CaptioningModule", pl_module)
        by_id = {sample.image_id: sample for sample in module.data.samples("val")}
        rows = []
        for result in module.results[: self.samples]:
            sample = by_id[result.image_id]
            picture = wandb.Image(str(sample.path))
            references = "\n".join(sample.captions)
            rows.append([picture, result.caption, result.log_probability, references])
        columns = ["image", "caption", "log-probability", "references"]
        trainer.logger.log_table("val/samples", columns=columns, data=rows)
