"""Looks of a validation against what the commands make of the same images."""

import csv
import shutil
from pathlib import Path

import pytest
from PIL import Image

from vlm.cli import main
from vlm.errors import InputError
from vlm.files import read_json, write_json
from vlm.training import CaptioningModule, Looks, looks

CALLBACK = "--trainer.callbacks+=vlm.training.Looks"


@pytest.fixture
def names(tmp_path: Path, tiny_checkpoint: Path, tiny_world: Path) -> str:
    """A table in which some word of the tiny model's captions names every shape."""
    instances = read_json(tiny_world / "instances_val.json")
    module = CaptioningModule.load(tiny_checkpoint)
    photo = tiny_world / "images" / instances["images"][0]["file_name"]
    word = max(module.attend(photo).words, key=len)
    shapes = [category["name"] for category in instances["categories"]]
    shown = {row["category_id"] for row in instances["annotations"]}
    first = next(c["name"] for c in instances["categories"] if c["id"] in shown)
    rows = [f"{shape}, {word}" if shape == first else shape for shape in shapes]
    (tmp_path / "names.txt").write_text("\n".join(rows))
    return str(tmp_path / "names.txt")


def test_a_validation_scores_looks_as_the_commands_do(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path, names: str
):
    instances, run = str(tiny_world / "instances_val.json"), tmp_path / "run"
    options = [f"--trainer.callbacks.instances={instances}", "--trainer.callbacks.samples=2"]
    options += [f"--trainer.callbacks.synonyms={names}"]
    checkpoint = ["--ckpt_path", str(tiny_checkpoint), "--output", str(run)]
    assert main(["validate", *checkpoint, CALLBACK, *options]) == 0
    ours = read_json(run / "grounding.json")
    images = [row["file_name"] for row in read_json(Path(instances))["images"]]
    photos = [str(tiny_world / "images" / name) for name in images]
    maps = tmp_path / "maps"
    assert main(["attend", str(tiny_checkpoint), *photos, "--npz", "--output", str(maps)]) == 0
    command = ["evaluate", "--grounding", str(maps), "--instances", instances]
    command += ["--synonyms", names, "--output", str(tmp_path / "theirs.json")]
    assert main(command) == 0
    theirs = read_json(tmp_path / "theirs.json")
    assert list(ours) == list(theirs)
    for name, row in ours.items():
        assert row["words"] == theirs[name]["words"] > 0
        for score in ("pointing by region", "mass in mask", "size-free mass"):
            assert row[score] == pytest.approx(theirs[name][score], abs=1e-4)
    (folder,) = (run / "looks").iterdir()
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == images[:2]
    for row in rows:
        with Image.open(folder / row["picture"]) as picture:
            assert picture.width > 300


def test_captions_that_are_neither_drawn_nor_scored_are_not_replayed(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch
):
    replayed, replay = [], looks.replay

    def watched(captions, memory, reduction):
        replayed.append((len(captions), *memory.features.shape[:1]))
        return replay(captions, memory, reduction)

    monkeypatch.setattr(looks, "replay", watched)
    options = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path), CALLBACK]
    for samples in (0, 5):
        assert main(["validate", *options, f"--trainer.callbacks.samples={samples}"]) == 0
    assert replayed == [(5, 5)]


def test_fewer_than_no_pictures_are_refused():
    with pytest.raises(InputError, match="samples=-1"):
        Looks(samples=-1)


def test_a_reduction_that_is_not_there_is_refused(tiny_checkpoint: Path, tmp_path: Path, capsys):
    options = ["--trainer.callbacks.reduction=layer-9", "--output", str(tmp_path)]
    assert main(["validate", "--ckpt_path", str(tiny_checkpoint), CALLBACK, *options]) == 2
    assert "there is no reduction 'layer-9'" in capsys.readouterr().err


def test_photos_that_a_store_outlived_are_refused_before_the_validation(
    tiny_checkpoint: Path, tiny_world: Path, tiny_store: Path, tmp_path: Path, capsys
):
    images = read_json(tiny_world / "captions_val.json")["images"]
    names = [image["file_name"] for image in images]
    world = tmp_path / "world"
    (world / "images").mkdir(parents=True)
    shutil.copy(tiny_world / "captions_val.json", world)
    for name in names[1:]:  # all but the first
        shutil.copy(tiny_world / "images" / name, world / "images")
    store = ["--data.store", "vlm.data.FeatureStore", f"--data.store.path={tiny_store}"]
    data = [f"--data.root={world}", "--data.images=images", "--data.annotations=captions_val.json"]
    options = [
        "--ckpt_path",
        str(tiny_checkpoint),
        *store,
        *data,
        "--output",
        str(tmp_path / "run"),
    ]
    assert main(["validate", *options, CALLBACK, "--trainer.callbacks.samples=3"]) == 2
    said = capsys.readouterr().err
    who = "1 of 3 images of vlm.training.Looks (samples=0 draws over none) cannot be used"
    assert f"{who}: image {world / 'images' / names[0]} does not exist" in said
    assert not (tmp_path / "run" / "results.json").exists()
    assert main(["validate", *options, CALLBACK, "--trainer.callbacks.samples=0"]) == 0


def test_a_caption_cut_off_at_the_last_position_is_replayed_as_it_was_written(
    tiny_checkpoint: Path, tmp_path: Path
):
    positions = CaptioningModule.load(tiny_checkpoint).network.decoder.max_length
    options = {"max_length": positions, "min_length": positions}  # no caption ends by itself
    decoding = [f"--model.decoding.{name}={value}" for name, value in options.items()]
    checkpoint = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path)]
    assert main(["validate", *checkpoint, CALLBACK, *decoding]) == 0
    (folder,) = (tmp_path / "looks").iterdir()
    assert (folder / "table.csv").read_text().count("\n") > 1


def test_instances_of_equal_names_are_refused(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path, capsys
):
    tree = read_json(tiny_world / "instances_val.json")
    tree["images"].append(
        tree["images"][0] | {"id": 99, "file_name": f"other/{tree['images'][0]['file_name']}"}
    )
    write_json(tmp_path / "instances.json", tree)
    options = [CALLBACK, f"--trainer.callbacks.instances={tmp_path / 'instances.json'}"]
    checkpoint = ["--ckpt_path", str(tiny_checkpoint), "--output", str(tmp_path / "run")]
    assert main(["validate", *checkpoint, *options]) == 2
    assert "lists several images of the names of" in capsys.readouterr().err
