"""The answerer of the demo: it starts from the captioner and learns to answer questions."""

import shutil
from pathlib import Path
from typing import Any

from vlm.cli import trainer
from vlm.cli.answer_baselines import write_shuffled
from vlm.cli.demo.places import config_file, on_this_world
from vlm.cli.table import answer_columns
from vlm.files import read_json
from vlm.formats.question_sets import read_question_samples

SET = ("questions", "annotations")
WIDTH = "128"  # of the memory in configs/demo_vqa.yaml
BLIND_EPOCHS = 3  # without an image there is little to learn, and it is learnt by then


def train_answerer(output: Path, seed: int) -> None:
    """The training that ``vlm fit --config configs/demo_vqa.yaml`` runs, here on this folder."""
    start = ["--start", str(output / "checkpoint.ckpt")]
    config = ["--config", str(config_file("demo_vqa.yaml"))]
    _fit(output, seed, output / "vqa" / "fit", [*config, *start])
    shutil.copyfile(output / "vqa" / "fit" / "checkpoints" / "best.ckpt", output / "vqa.ckpt")


def train_blind(output: Path, seed: int) -> None:
    """The same model, but one that never sees an image."""
    names = ("demo_vqa.yaml", "blind_vqa.yaml")
    configs = [part for name in names for part in ("--config", str(config_file(name)))]
    options = ["--start", "null", "--model.encoder.width", WIDTH]
    for name in ("max_epochs", "check_val_every_n_epoch"):
        options += [f"--trainer.{name}", str(BLIND_EPOCHS)]
    _fit(output, seed, output / "vqa" / "blind", [*configs, *options])


def score_answerer(output: Path) -> dict[str, float]:
    """Accuracy on unseen scenes, with shuffled images, and of the model without images."""
    world, vqa = output / "world", output / "vqa"
    questions, annotations = (world / f"{name}_test.json" for name in SET)
    images = world / "images"
    samples = read_question_samples(questions, annotations, images)
    write_shuffled(samples, images, vqa / "moved")
    moved = {name: str((vqa / "moved" / f"{name}.json").resolve()) for name in SET}
    shuffle = [part for name, file in moved.items() for part in (f"--data.{name}", file)]
    blind = vqa / "blind" / "checkpoints" / "best.ckpt"
    rows = {
        "answerer": _test(output / "vqa.ckpt", vqa),
        "images shuffled": _test(output / "vqa.ckpt", vqa / "shuffled", *shuffle),
        "no image": _test(blind, vqa / "blind" / "test"),
    }
    print(answer_columns(rows))
    whole = [row["scores"]["overall"] for row in rows.values()]
    names = ("accuracy", "shuffled accuracy", "question-only accuracy")
    return dict(zip(names, whole, strict=True))


def _fit(output: Path, seed: int, folder: Path, arguments: list[str]) -> None:
    trainer.run("fit", [*arguments, *on_this_world(output, seed), "--output", str(folder)])


def _test(checkpoint: Path, folder: Path, *options: str) -> dict[str, Any]:
    """The metrics of a test."""
    trainer.run("test", ["--ckpt_path", str(checkpoint), "--output", str(folder), *options])
    return read_json(folder / "metrics.json")
