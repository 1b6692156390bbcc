"""``vlm extract`` and ``vlm import`` as a user runs them, in one process and in two."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vlm.cli import main
from vlm.cli.trainer import run
from vlm.data import FeatureStore
from vlm.errors import InputError
from vlm.training.captioning import CaptioningModule


@pytest.fixture
def photos(tiny_world: Path, tmp_path: Path) -> Path:
    """Nine scenes in a folder of their own, as COCO names photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, path in enumerate(sorted((tiny_world / "images").iterdir())[:9]):
        (folder / f"COCO_val2014_{number:012d}.png").write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def arguments(photos: Path, tiny_eyes: str, tmp_path: Path) -> list[str]:
    options = {"--images": photos, "--backbone": tiny_eyes, "--output": tmp_path / "store"}
    return ["extract", *(str(part) for pair in options.items() for part in pair)]


def told(capsys: pytest.CaptureFixture) -> str:
    """The sentence of a refusal, without progress bars."""
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    return next(line for line in lines if line.startswith("vlm: error: "))


def test_a_folder_to_a_store(arguments, tmp_path, capsys):
    assert main([*arguments, "--views", "2", "--dtype", "int8", "--verify", "3"]) == 0
    said = capsys.readouterr().out
    assert "store: 9 images x 2 views, " in said
    assert "18 to look at, " in said
    assert "store: complete, 9 images, 0 skipped\n" in said
    assert "verified: 2 shards by checksum, 3 images looked at again, largest difference" in said
    store = FeatureStore(tmp_path / "store")
    assert next(iter(store)) == "COCO_val2014_000000000000.png"
    assert store.manifest.dtype == "int8"
    assert main([*arguments, "--views", "2", "--dtype", "int8"]) == 0
    assert "all there already" in capsys.readouterr().out


def test_a_backbone_may_be_a_folder(arguments, tiny_eyes, tmp_path):
    arguments[arguments.index("--backbone") + 1] = tiny_eyes.removeprefix("local-dir:")
    assert main(arguments) == 0
    assert FeatureStore(tmp_path / "store").manifest.backbone.startswith("local-dir:eyes")


def test_a_dry_run_writes_nothing(arguments, tmp_path, capsys):
    assert main([*arguments, "--dry-run"]) == 0
    assert "9 to look at" in capsys.readouterr().out
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("place", ["beside", "images", "above", "split"])
def test_a_file_of_images_finds_their_folder(arguments, photos, tmp_path, place):
    file = {
        "beside": photos / "list.json",
        "images": tmp_path / "captions.json",
        "above": tmp_path / "annotations" / "captions.json",
        "split": tmp_path / "annotations" / "instances_photos.json",
    }[place]
    if place == "images":
        photos.rename(tmp_path / "images")
        photos = tmp_path / "images"
    names = [path.name for path in sorted(photos.iterdir())]
    if place == "above":
        names = [f"photos/{name}" for name in names]
    file.parent.mkdir(exist_ok=True)
    images = [{"id": 70 + number, "file_name": name} for number, name in enumerate(names)]
    file.write_text(json.dumps({"images": images}))
    arguments[arguments.index("--images") + 1] = str(file)
    assert main(arguments) == 0
    assert list(FeatureStore(tmp_path / "store")) == list(range(70, 79))


def test_json_lines_and_a_folder_given(arguments, photos, tmp_path):
    names = [path.name for path in sorted(photos.iterdir())]
    lines = [{"image": names[0]}, {"image": names[2], "id": "second"}]
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments[arguments.index("--images") + 1] = str(tmp_path / "two.jsonl")
    assert main([*arguments, "--folder", str(photos)]) == 0
    assert list(FeatureStore(tmp_path / "store")) == [names[0], "second"]


def test_boxes_are_found_by_the_number_in_a_name(arguments, tmp_path):
    rows = [
        {"image_id": 3, "bbox": [10, 20, 30, 40], "score": 0.5, "category_id": 1},
        {"image_id": 3, "bbox": [0, 0, 160, 128], "score": 0.9, "category_id": 1},
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    options = ["--boxes", str(tmp_path / "boxes.json"), "--max-boxes", "1"]
    assert main([*arguments, *options]) == 0
    store = FeatureStore(tmp_path / "store")
    assert store.manifest.boxes.startswith("boxes.json ")
    regions = store["COCO_val2014_000000000003.png"]
    assert regions.kinds is not None
    assert regions.kinds.sum() == 1
    assert regions.boxes[0, -1].tolist() == [0, 0, 1, 1]
    other = store["COCO_val2014_000000000004.png"]
    assert regions.mask.shape[1] == other.mask.shape[1] + 1


def test_boxes_of_other_images_are_nobodys(arguments, photos, tmp_path, capsys):
    rows = [{"image_id": 3, "bbox": [1, 2, 30, 40], "score": 0.5, "category_id": 1}]
    (tmp_path / "boxes.json").write_text(json.dumps(rows))
    names = [path.name for path in sorted(photos.iterdir())]
    listed = [{"id": 70 + place, "file_name": name} for place, name in enumerate(names)]
    (photos / "list.json").write_text(json.dumps({"images": listed}))
    options = ["--boxes", str(tmp_path / "boxes.json"), "--dry-run"]
    assert main([*arguments, *options]) == 0
    by_list = arguments.copy()
    by_list[arguments.index("--images") + 1] = str(photos / "list.json")
    assert main([*by_list, *options]) == 2, "ids of a list are not numbers in names"
    assert "has no box for any image of" in told(capsys)
    (photos / "more").mkdir()
    (photos / "more/3.png").write_bytes((photos / names[3]).read_bytes())
    assert main([*arguments, *options]) == 2
    assert f"several images of the folder have one number, {names[3]}, more/3.png" in told(capsys)
    for path in photos.rglob("*3.png"):
        path.rename(path.with_name(f"beach_{path.parent.name}_3.png"))
    assert main([*arguments, *options]) == 2, "beach_3 is no number"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--verify", "-1"], r"expected --verify of 0 or more, got -1"),
        (["--workers", "-1"], r"expected --workers of 0 or more, got -1"),
        (["--devices", "0"], r"expected --devices of 1 or more, got 0"),
        (["--devices", "999"], r"--devices 999 is more than this machine's cores; give fewer"),
        (["--layer", "99"], r"has no layer 99; give 0 to \d, or -1 for the last one"),
        (["--pool", "99"], r"cannot be averaged down to 99x99; give a smaller pool"),
        (["--pool", "1", "2", "3"], r"expected one or two numbers as --pool, got 3"),
        (["--views", "0"], r"expected at least 1 view"),
        (["--dtype", "float64"], r"invalid choice: 'float64'"),
        (["--max-boxes", "3"], r"--max-boxes goes with --boxes FILE"),
        (["--folder", "x"], r"--folder goes with a file of images"),
        (["--backbone", "resnet18x"], r"timm knows no backbone 'resnet18x'; did you mean"),
        (["--images", "gone"], r"file gone does not exist; check the path"),
        (["--accelerator", "tpux"], r"change --accelerator or --devices"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(
    arguments, tmp_path, capsys, options, sentence
):
    import re

    assert main([*arguments, *options]) == 2
    assert re.search(sentence, told(capsys))
    assert not (tmp_path / "store").exists()


def test_help_needs_no_torch():
    code = (
        "import sys, vlm.cli\ntry:\n    vlm.cli.main(['extract', '--help'])\nexcept SystemExit:\n"
    )
    code += "    pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_two_processes_write_the_store_of_one(arguments, tmp_path):
    """Lightning's own engine starts the second process; shards are shared, the manifest is one."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    stores = []
    for devices in ("1", "2"):
        output = tmp_path / f"by-{devices}"
        command = [sys.executable, "-m", "vlm", *arguments, "--batch-size", "1", "--views", "2"]
        command[command.index("--output") + 1] = str(output)
        command += ["--accelerator", "cpu", "--devices", devices]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("complete") == 1
        files = [path for path in sorted(output.rglob("*")) if path.suffix and path.is_file()]
        stores.append({path.relative_to(output).as_posix(): path.read_bytes() for path in files})
    assert len(stores[0]) > 12
    assert stores[0] == stores[1]


def test_random_weights_are_those_of_every_process(arguments, tmp_path):
    command = [sys.executable, "-m", "vlm", *arguments, "--batch-size", "1", "--random-weights"]
    command[command.index("--backbone") + 1] = "test_resnet"
    command += ["--accelerator", "cpu", "--devices", "2", "--verify", "9"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "9 images looked at again" in done.stdout


def test_a_refusal_in_two_processes_is_told_once(arguments, photos, tmp_path):
    sorted(photos.iterdir())[5].write_bytes(b"no picture")
    command = [sys.executable, "-m", "vlm", *arguments, "--batch-size", "1"]
    command += ["--accelerator", "cpu", "--devices", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("vlm: error: 1 of 9 images of the list") == 1
    kept = {path.name for path in (tmp_path / "store/view-0").glob("*.bin")}
    assert kept == {"000000.bin", "000002.bin"}


# --- trained on other regions than a grid ----------------------------------------------------


def fitted(tiny_arguments: list[str], output: Path, *options: str) -> Path:
    run("fit", [*tiny_arguments, "--trainer.max_epochs", "1", "--output", str(output), *options])
    return output / "checkpoints" / "best.ckpt"


def test_published_features_are_imported_and_trained_on(
    tiny_world: Path, tiny_arguments: list[str], tmp_path: Path, capsys
):
    folder = tmp_path / "features"
    folder.mkdir()
    for number, path in enumerate(sorted((tiny_world / "images").iterdir())):
        regions, rng = 3 + number % 4, np.random.default_rng(number)
        boxes = np.sort(rng.random((regions, 2, 2)), axis=1).reshape(regions, 4)
        features = rng.normal(size=(regions, 13)).astype(np.float32)
        np.savez(folder / f"{path.name}.npz", features=features, norm_bb=boxes)
    store = tmp_path / "store"
    assert main(["import", str(folder), "--output", str(store), "--name", "theirs"]) == 0
    said = capsys.readouterr().out
    assert "{class_path: vlm.models.ImportedRegions, init_args: {name: theirs, width: 13}}" in said
    kept = FeatureStore(store)
    assert kept.manifest.backbone == "theirs"
    assert kept[list(kept)[1]].features.shape == (1, 4, 13)
    options = tiny_arguments.copy()
    options[options.index("--model.backbone.name") + 1] = "theirs"
    eyes = options.index("--model.backbone.name")
    imported = ["--model.backbone", "vlm.models.ImportedRegions", "--model.backbone.width", "13"]
    options = [*options[:eyes], *imported, *options[eyes:]]
    options[options.index("--data.store.init_args.path") + 1] = str(store)
    checkpoint = fitted(options, tmp_path / "run")
    module = CaptioningModule.load(checkpoint)
    photo = next((tiny_world / "images").iterdir())
    with pytest.raises(InputError, match=r"imported as 'theirs' and cannot look at photos; give"):
        module.attend(photo)
    with pytest.raises(InputError, match=r"imported as 'theirs'"):
        run("test", ["--ckpt_path", str(checkpoint), "--output", str(tmp_path / "test")])
    place = ["--data.store", "vlm.data.FeatureStore", "--data.store.path", str(store)]
    run("test", ["--ckpt_path", str(checkpoint), "--output", str(tmp_path / "test"), *place])
    assert len(json.loads((tmp_path / "test/results.json").read_text())) == 7


def test_a_model_of_boxes_is_not_shown_photos_without_them(
    tiny_world: Path, tiny_eyes: str, tiny_arguments: list[str], tmp_path: Path
):
    names = [path.name for path in sorted((tiny_world / "images").iterdir())]
    images = [{"id": name, "file_name": name} for name in names]
    boxes = [{"image_id": name, "bbox": [5, 7, 50, 60], "category_id": 1} for name in names]
    (tmp_path / "i.json").write_text(json.dumps({"images": images, "annotations": boxes}))
    command = ["extract", "--images", str(tiny_world / "images"), "--backbone", tiny_eyes]
    command += ["--boxes", str(tmp_path / "i.json"), "--image-size", "128", "160"]
    store = tmp_path / "store"
    assert main([*command, "--output", str(store)]) == 0
    place = ["--data.store.init_args.path", str(store)]
    checkpoint = fitted(tiny_arguments, tmp_path / "run", *place)
    module = CaptioningModule.load(checkpoint)
    assert module.network.encoder.box_kind.abs().sum() > 0, "boxes were told from cells"
    with pytest.raises(InputError, match=r"trained on boxes beside the grid \(i\.json [0-9a-f]+\)"):
        module.attend(tiny_world / "images" / names[0])
    with pytest.raises(InputError, match=r"trained on boxes beside the grid .* here are none"):
        run("test", ["--ckpt_path", str(checkpoint), "--output", str(tmp_path / "test")])
    assert torch.isfinite(module.network.encoder.box_kind).all()
