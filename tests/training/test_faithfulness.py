"""Reductions ranked in a test: on the images it says, equal to what Python computes."""

import math
from pathlib import Path

import pytest

from vlm.cli import main, trainer
from vlm.errors import InputError
from vlm.explain.curves import ranking, scored
from vlm.files import read_json
from vlm.training import CaptioningModule, Faithfulness

ASKED = "--trainer.callbacks+=vlm.training.Faithfulness"


def test_the_first_images_are_measured_and_named(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path), ASKED]
    options += ["--trainer.callbacks.images=6", "--data.batch_size=5"]
    options += ["--trainer.callbacks.reductions=[relevance,mean]"]
    logged = trainer.run("test", options).trainer.logged_metrics
    record = read_json(tmp_path / "faithfulness.json")
    images = read_json(tiny_world / "captions_test.json")["images"][:6]
    assert record["images"] == 6
    assert record["ids"] == [image["id"] for image in images]
    module = CaptioningModule.load(tiny_checkpoint)
    passages = [module.passage(tiny_world / "images" / row["file_name"]) for row in images]
    expected = ranking([scored(passage, ["relevance", "mean"]) for passage in passages])
    assert list(record["captions"]) == list(expected)
    for name, areas in expected.items():
        found = record["captions"][name]
        assert found == pytest.approx(areas._asdict(), abs=2e-3), "but for 16-bit features"
        label = f"test/deletion of captions: {name}"
        assert math.isclose(logged[label], found["deletion"], rel_tol=1e-5)


def test_all_reductions_but_single_heads_unless_named(tiny_checkpoint: Path, tmp_path: Path):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path), ASKED]
    trainer.run("test", [*options, "--trainer.callbacks.images=1"])
    assert set(read_json(tmp_path / "faithfulness.json")["captions"]) == {
        *("last", "mean", "layer-1", "layer-2"),
        *("rollout", "gradient", "relevance", "attnlrp", "occlusion", "by chance"),
    }


def test_a_test_that_does_not_ask_is_not_slowed(tiny_checkpoint: Path, tmp_path: Path):
    trainer.run("test", ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)])
    assert not (tmp_path / "faithfulness.json").exists()


def test_a_reduction_that_is_not_there_is_one_sentence(
    tiny_checkpoint: Path, tmp_path: Path, capsys
):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path), ASKED]
    assert main(["test", *options, "--trainer.callbacks.reductions=[layer-7]"]) == 2
    assert "there is no reduction 'layer-7'; there are last, mean" in capsys.readouterr().err


def test_a_sample_of_nothing_is_refused():
    with pytest.raises(InputError, match="1 image or more, got images=0"):
        Faithfulness(images=0)
