"""Trainings of an epoch on the tiny world, for tests of what comes out."""

from pathlib import Path

from vlm.cli import trainer

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def fit(config: str, world: Path, eyes: str, output: Path, *more: str) -> Path:
    """One epoch of a config of the demo on the tiny world, with eyes in the loop."""
    options = {
        "trainer.max_epochs": "1",
        "trainer.check_val_every_n_epoch": "1",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "model.backbone.name": eyes,
        "model.encoder.width": "16",
        "model.decoder.width": "16",
        "data.root": str(world),
        "data.answers.min_count": "2",
        "data.store": "null",
        "start": "null",
        "output": str(output),
    }
    pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
    trainer.run("fit", ["--config", str(CONFIGS / config), *pairs, *more])
    return next(output.rglob("best.ckpt"))


def photo(world: Path) -> str:
    return str(min((world / "images").glob("test_*")))
