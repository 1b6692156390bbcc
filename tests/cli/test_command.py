"""The command's door: verbs, photos, exit status, one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm import __version__
from vlm.cli import VERBS, main
from vlm.files import read_json, write_json


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == main([]) == 0
    told = capsys.readouterr().out
    assert all(f"  {verb} " in told for verb in VERBS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vlm {__version__}\n"


def test_an_unknown_verb_suggests_the_nearest(capsys):
    assert main(["captoin"]) == 2
    assert (
        capsys.readouterr().err
        == "vlm: error: there is no verb 'captoin'; did you mean 'caption'?\n"
    )


def test_an_image_that_goes_bad_under_a_worker_is_one_sentence(
    tiny_arguments: list[str], tiny_world: Path, tmp_path: Path, monkeypatch, capsys
):
    images = tmp_path / "images"
    images.mkdir()
    for path in (tiny_world / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    bad = images / read_json(tiny_world / "captions_train.json")["images"][0]["file_name"]
    bad.write_bytes(bad.read_bytes()[:400])
    monkeypatch.setattr("vlm.data.datamodules.check_images", lambda *_, **__: None)  # came later
    options = ["--data.images", str(images), "--data.store", "null", "--data.workers", "1"]
    assert main(["fit", *tiny_arguments, *options, "--output", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "vlm: error:" in line]
    assert len(lines) == 1
    assert bad.name in lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["caption", "{checkpoint}", "missing.jpg"], ["missing.jpg", "does not exist"]),
        (["caption", "missing.ckpt", "{photo}"], ["missing.ckpt", "does not exist"]),
        (["caption", "{photo}", "{photo}"], ["is not a checkpoint"]),
        (["caption", "{checkpoint}", "{checkpoint}"], ["best.ckpt", "not an image"]),
        (["caption", "{checkpoint}", "{photo}", "--beams", "0"], ["beams=0"]),
        (["caption", "{checkpoint}", "{photo}", "--device", "abacus"], ["abacus", "try cpu"]),
        (["attend", "{checkpoint}", "missing.jpg"], ["missing.jpg", "does not exist"]),
        (["test", "--ckpt_path", "{photo}"], ["is not a checkpoint"]),
        (["fit", "--config", "missing.yaml"], ["missing.yaml"]),
        (["fit"], ["configs/"]),
        (["caption", "{checkpoint}"], ["required: image", "--help"]),
        (["demo", "--seed", "-1"], ["seed of at least 0"]),
        (
            ["baseline", "shuffled", "{photo}.json", "--references", "r.json", "--output", "o"],
            ["r.json"],
        ),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(
    arguments, words, tiny_checkpoint: Path, tiny_world: Path, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    names = {"checkpoint": tiny_checkpoint, "photo": next((tiny_world / "images").iterdir())}
    assert main([argument.format(**names) for argument in arguments]) == 2
    told = capsys.readouterr()
    chatter = ("Seed set", "GPU available", "TPU available", "INFO")
    lines = [line for line in told.err.splitlines() if not line.startswith(chatter)]
    assert len(lines) == 1, told.err
    assert lines[0].startswith("vlm: error: ")
    assert all(word in lines[0] for word in words)
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_captions_as_lines_and_as_json(tiny_checkpoint: Path, tiny_world: Path, capsys):
    photos = [str(path) for path in sorted((tiny_world / "images").iterdir())[:3]]
    assert main(["caption", str(tiny_checkpoint), *photos, "--batch_size", "2"]) == 0
    plain = capsys.readouterr().out.splitlines()
    assert main(["caption", str(tiny_checkpoint), *photos, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == photos
    assert plain == [f"{row['image']}: {row['caption']}" for row in rows]
    assert all(row["log_probability"] < 0 for row in rows)


def test_odd_photos_are_captioned(tiny_checkpoint: Path, tmp_path: Path, capsys):
    deep = Image.fromarray((np.arange(30 * 40).reshape(30, 40) * 50).astype(np.uint16))
    palette = Image.new("P", (31, 17))
    palette.info["transparency"] = 0
    odd = {
        "grey.png": Image.new("L", (50, 40), 90),
        "deep.png": deep,
        "cmyk.jpg": Image.new("CMYK", (50, 40)),
        "palette.png": palette,
        "pixel.png": Image.new("RGB", (1, 1), "red"),
        "wide.png": Image.new("L", (9000, 3)),
    }
    paths = []
    for name, image in odd.items():
        image.save(tmp_path / name)
        paths.append(str(tmp_path / name))
    assert main(["caption", str(tiny_checkpoint), *paths, "--json"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(odd)


def test_attend_draws_one_picture_a_photo_and_overwrites_none(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path, capsys
):
    photo = next((tiny_world / "images").iterdir())
    for _ in range(2):
        assert main(["attend", str(tiny_checkpoint), str(photo), "--output", str(tmp_path)]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{photo.stem}.png", f"{photo.stem}-2.png"}
    with Image.open(tmp_path / f"{photo.stem}.png") as picture:
        assert picture.width > 2 * 180
    assert f"{photo.stem}-2.png" in capsys.readouterr().out


def test_shuffled_baseline(tiny_world: Path, tmp_path: Path, capsys):
    file = tiny_world / "captions_test.json"
    first = {row["image_id"]: row["caption"] for row in reversed(read_json(file)["annotations"])}
    rows = [{"image_id": key, "caption": text} for key, text in first.items()]
    write_json(tmp_path / "r.json", rows)
    options = ["--references", str(file), "--output", str(tmp_path / "out")]
    assert main(["baseline", "shuffled", str(tmp_path / "r.json"), *options]) == 0
    moved = {
        row["image_id"]: row["caption"] for row in read_json(tmp_path / "out" / "results.json")
    }
    assert all(moved[key] != first[key] for key in first)
    assert read_json(tmp_path / "out" / "metrics.json")["images"] == 7
    assert "CIDEr-D" in capsys.readouterr().out


def test_nearest_baseline_uses_the_checkpoints_features_and_data(
    tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    assert main(["baseline", "nearest", str(tiny_checkpoint), "--output", str(tmp_path)]) == 0
    written = {row["caption"] for row in read_json(tmp_path / "results.json")}
    train = {row["caption"] for row in read_json(tiny_world / "captions_train.json")["annotations"]}
    assert written <= train, "somebody wrote each of them for a training image"
