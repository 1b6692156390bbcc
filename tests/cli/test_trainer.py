"""The trainer's verbs through the command's own door."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from vlm.cli import trainer
from vlm.errors import InputError
from vlm.files import read_json
from vlm.metrics import score_captions
from vlm.training.captioning import CaptioningModule


def captions_of(folder: Path) -> dict[int, str]:
    return {row["image_id"]: row["caption"] for row in read_json(folder / "results.json")}


def references_of(file: Path) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in read_json(file)["annotations"]:
        found.setdefault(row["image_id"], []).append(row["caption"])
    return found


def test_a_run_leaves_its_record(tiny_run: Path):
    record = read_json(tiny_run / "run.json")
    assert record["seed"] == 0
    assert record["data"]["train"]["images"] == 24
    hashes = [of for name, of in record["data"]["train"].items() if name != "images"]
    assert len(hashes[0]) == len(record["backbone"]["hash"]) == 16
    assert record["versions"]["torch"] == torch.__version__.partition("+")[0]
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 3
    assert "val/CIDEr-D" in (tiny_run / "metrics.csv").read_text()


def test_test_writes_each_image_once_with_the_scores_of_the_metrics(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    trainer.run("test", ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)])
    references = references_of(tiny_world / "captions_test.json")
    captions = captions_of(tmp_path)
    metrics = read_json(tmp_path / "metrics.json")
    assert list(captions) == list(references)
    assert metrics["images"] == 7
    assert metrics["scores"] == score_captions(captions, references).corpus


def test_the_command_line_beats_the_checkpoint_and_is_used(tiny_checkpoint: Path, tmp_path: Path):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    cli = trainer.run("test", [*options, "--model.decoding.beams", "2"])
    assert cli.model.decoding.beams == 2
    metrics = read_json(tmp_path / "metrics.json")
    assert metrics["decoding"]["init_args"]["beams"] == 2
    assert metrics["decoding"]["init_args"]["max_length"] == 7, "the rest is the checkpoint's"


def test_a_config_beats_the_checkpoint_and_the_command_line_beats_both(
    tiny_checkpoint: Path, tmp_path: Path
):
    config = tmp_path / "beams.yaml"
    config.write_text("model: {init_args: {decoding: {init_args: {beams: 4, max_length: 6}}}}")
    options = ["--ckpt_path", str(tiny_checkpoint), "--config", str(config)]
    options += ["--output", str(tmp_path), "--model.decoding.beams", "2"]
    decoding = trainer.run("validate", options).model.decoding
    assert (decoding.beams, decoding.max_length) == (2, 6)


def test_another_strategy_can_be_named(tiny_checkpoint: Path, tmp_path: Path):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    options += ["--model.decoding", "vlm.decoding.Greedy", "--model.decoding.max_length", "5"]
    cli = trainer.run("test", options)
    assert type(cli.model.decoding).__name__ == "Greedy"


def test_any_annotations_and_images_can_be_tested(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    file = tiny_world / "captions_test_seen.json"
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    options += ["--data.annotations", str(file), "--data.images", str(tiny_world / "images")]
    trainer.run("test", options)
    assert list(captions_of(tmp_path)) == list(references_of(file))


def test_predict_takes_a_folder_of_unlabelled_images(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    trainer.run("predict", [*options, "--data.images", str(tiny_world / "images")])
    captions = captions_of(tmp_path)
    names = {path.name for path in (tiny_world / "images").iterdir()}
    assert set(captions) == names
    assert not (tmp_path / "metrics.json").exists()


def test_without_an_output_the_folder_lies_beside_the_checkpoint(tiny_checkpoint: Path):
    cli = trainer.run("validate", ["--ckpt_path", str(tiny_checkpoint)])
    assert cli.output == tiny_checkpoint.parent / "validate"
    assert (cli.output / "results.json").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.decoder.layers", "7"], r"model\.decoder\.layers=7 cannot change .* has 2"),
        (["--model.backbone.image_size", "64"], r"image_size=64 cannot change .* has \[128, 160\]"),
        (["--data.vocabulary.min_count", "9"], r"vocabulary\.min_count=9 cannot change .* has 5"),
        (["--data.batch_size", "0"], r"batch_size"),
        (["--trianer.max_epochs", "9"], r"no option 'trianer\.max_epochs'; did you mean 'trainer'"),
        (["--model.encoder.width", "48"], r"model\.encoder\.width=48 cannot change .* has 24"),
        (
            ["--model.encoder", "vlm.models.BlindEncoder"],
            r"model\.encoder=BlindEncoder cannot change .* has RegionEncoder",
        ),
        (
            ["--model.backbone.name", "test_vit", "--model.backbone.pretrained", "false"],
            r"'test_vit' has weights \w{16}, but",
        ),
        (
            ["--model.backbone.name", "resnet18x"],
            r"no backbone 'resnet18x'; did you mean 'resnet18",
        ),
        (["--model.decoding.beems", "3"], r"no option '[\w.]*beems'; did you mean 'beams'"),
        (["--data.batchsize", "3"], r"no option '[\w.]*batchsize'; did you mean 'batch_size'"),
        (["--trainer.max_epoch", "3"], r"no option '[\w.]*max_epoch'; did you mean 'max_epochs'"),
        (
            ["--data.annotations", "captions_tset.json"],
            r"captions_tset\.json does not exist; check",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    tiny_checkpoint: Path, tmp_path: Path, options: list[str], message: str
):
    base = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path / "out")]
    with pytest.raises(InputError, match=message) as raised:
        trainer.run("test", [*base, *options])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_a_yaml_with_an_unknown_key_is_refused(tmp_path: Path, tiny_arguments: list[str]):
    config = tmp_path / "odd.yaml"
    config.write_text("model: {init_args: {learnin_rate: 0.1}}")
    with pytest.raises(InputError, match="learnin_rate'; did you mean 'learning_rate'"):
        trainer.run("fit", [*tiny_arguments, "--config", str(config)])


def test_all_bad_images_are_named_before_training(
    tiny_world: Path, tiny_arguments: list[str], tmp_path: Path
):
    tree = read_json(tiny_world / "captions_train.json")
    broken = [image["file_name"] for image in tree["images"][:2]]
    images = tmp_path / "images"
    images.mkdir()
    for path in (tiny_world / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes()[: 40 if path.name in broken else None])
    options = ["--data.images", str(images), "--output", str(tmp_path / "out")]
    options += ["--data.store", "null"]
    with pytest.raises(InputError) as raised:
        trainer.run("fit", [*tiny_arguments, *options])
    assert all(name in str(raised.value) for name in broken)
    assert "2 of 24 images" in str(raised.value)
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_a_folder_that_holds_a_run_is_not_fitted_into_again(
    tiny_run: Path, tiny_arguments: list[str]
):
    before = {path: path.stat().st_mtime_ns for path in tiny_run.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="holds a run already; give another --output"):
        trainer.run("fit", [*tiny_arguments, "--output", str(tiny_run)])
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_what_was_not_trained_is_not_scored(verb: str, tiny_arguments: list[str]):
    with pytest.raises(InputError, match=f"vlm {verb} needs --ckpt_path FILE"):
        trainer.run(verb, tiny_arguments)


def test_going_on_needs_the_config_it_began_with(tiny_checkpoint: Path):
    with pytest.raises(InputError, match="vlm fit needs --config FILE"):
        trainer.run("fit", ["--ckpt_path", str(tiny_checkpoint)])


def test_a_checkpoint_path_within_a_config_is_refused(
    tiny_checkpoint: Path, tiny_arguments: list[str], tmp_path: Path
):
    config = tmp_path / "resumed.yaml"
    config.write_text(f"ckpt_path: {tiny_checkpoint}")
    with pytest.raises(InputError, match="stands in a config; give it as --ckpt_path FILE"):
        trainer.run("fit", [*tiny_arguments, "--config", str(config)])


def test_a_run_goes_on_in_its_own_folder_and_keeps_its_log(
    tiny_arguments: list[str], tmp_path: Path
):
    trainer.run("fit", [*tiny_arguments, "--output", str(tmp_path), "--trainer.max_epochs", "1"])
    file = tmp_path / "checkpoints" / "best.ckpt"
    cli = trainer.run("fit", [*tiny_arguments, "--ckpt_path", str(file)])
    assert cli.output.resolve() == tmp_path.resolve()
    assert cli.trainer.current_epoch == 3
    assert {path.name for path in tmp_path.glob("*.csv")} == {"metrics.csv", "metrics-1.csv"}
    assert [path.name for path in file.parent.iterdir()] == ["best.ckpt"]


def test_paths_given_beside_a_checkpoint_are_relative_to_the_current_folder(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    photo = min((tiny_world / "images").iterdir())
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").write_bytes(photo.read_bytes())
    monkeypatch.chdir(tmp_path)
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", "out"]
    trainer.run("predict", [*options, "--data.images", "images"])
    assert list(captions_of(tmp_path / "out")) == ["mine.jpg"]


def test_no_scores_stay_beside_captions_they_are_not_of(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    trainer.run("test", options)
    assert (tmp_path / "metrics.json").exists()
    trainer.run("predict", [*options, "--data.images", str(tiny_world / "images")])
    assert not (tmp_path / "metrics.json").exists()


def test_two_processes_write_each_image_once_and_score_the_same(
    tiny_checkpoint: Path, tmp_path: Path
):
    alone, together = tmp_path / "alone", tmp_path / "together"
    command = [sys.executable, "-m", "vlm", "validate", "--ckpt_path", str(tiny_checkpoint)]
    trainer.run("validate", ["--ckpt_path", str(tiny_checkpoint), "--output", str(alone)])
    more = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    subprocess.run(
        [*command, *more, "--output", str(together)], check=True, capture_output=True, timeout=200
    )
    assert captions_of(together) == captions_of(alone)
    assert read_json(together / "metrics.json") == read_json(alone / "metrics.json")


def test_a_fresh_process_in_another_folder_captions_from_the_file_alone(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    photo = next((tiny_world / "images").iterdir())
    command = [sys.executable, "-m", "vlm", "caption", str(tiny_checkpoint), str(photo), "--json"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=200
    )
    row = json.loads(done.stdout)
    module = CaptioningModule.load(tiny_checkpoint)
    from vlm.cli.caption import captions

    _, caption, log_probability = next(captions(module, [str(photo)]))
    assert row["image"] == str(photo)
    assert row["caption"] == caption
    assert row["log_probability"] == pytest.approx(log_probability, abs=1e-4)
