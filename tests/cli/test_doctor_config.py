"""``vlm doctor --config``: what a training would stumble over, found without starting one."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlm.cli import main
from vlm.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]


def part(kind: str, /, **arguments: Any) -> dict[str, Any]:
    return {"class_path": kind, "init_args": arguments}


@pytest.fixture
def config(tiny_world, tiny_eyes, tiny_store, tmp_path, monkeypatch) -> dict[str, Any]:
    """A sound one, on one's own copies of what is damaged."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_world, "world")
    backbone = part("vlm.models.FrozenBackbone", name=tiny_eyes, image_size=[128, 160])
    annotations = {split: f"captions_{split}.json" for split in ("train", "val", "test")}
    data = {"root": "world", "images": "images", "annotations": annotations, "batch_size": 5}
    store = part("vlm.data.FeatureStore", path=str(tiny_store), views=3)
    return {
        "trainer": {"max_epochs": 1},
        "model": part("vlm.training.CaptioningModule", backbone=backbone, learning_rate=1e-3),
        "data": part("vlm.data.CaptionData", **data, store=store),
    }


def looked(capsys, config: dict[str, Any], *arguments: str) -> list[str]:
    """The lines of a config, without its name; the exit status is held against them."""
    Path("fit.yaml").write_text(yaml.safe_dump(config))
    before = sorted(Path().rglob("*"))
    status = main(["doctor", "--config", "fit.yaml", *arguments])
    lines = capsys.readouterr().out.splitlines()
    assert status == (2 if any(line.startswith("fail") for line in lines) else 0)
    assert sorted(Path().rglob("*")) == before, "nothing is written"
    return [line.replace("fit.yaml, ", "") for line in lines]


def only(lines: list[str], status: str) -> str:
    (line,) = [line for line in lines if line.startswith(status)]
    return line


def test_a_sound_config(config, tiny_eyes, capsys):
    lines = looked(capsys, config)
    assert {line[:6] for line in lines} == {"ok    "}
    told = dict(line[6:].split(": ", 1) for line in lines)
    assert told["data.annotations.train"] == "24 images, all in the store, 120 captions"
    assert told["data.annotations.test"].startswith("7 images, all in the store")
    assert told["data"] == "train shares no image with val, test"
    assert told["model.backbone"].startswith(f"the weights of backbone {tiny_eyes!r} are here")
    assert "(--full compares weights)" in told["data.store"]
    assert told["output"].startswith("runs, ")
    full = looked(capsys, config, "--full")
    hashed = read_json(
        Path(config["data"]["init_args"]["store"]["init_args"]["path"], "manifest.json")
    )
    expected = f"was made by the model's backbone {tiny_eyes!r} ({hashed['backbone_hash']})"
    assert f"ok    data.store: {expected}" in full


def test_photos_are_looked_at_where_there_is_no_store(config, capsys):
    config["data"]["init_args"]["store"] = None
    assert "ok    data.annotations.val: 7 images, all can be read, 35 captions" in looked(
        capsys, config
    )
    name = read_json(Path("world/captions_val.json"))["images"][0]["file_name"]
    Path("world/images", name).write_bytes(b"")
    assert "1 of 7 images of the val split cannot be used: " in only(looked(capsys, config), "fail")


def test_a_store_that_is_not_there_comes_with_its_command(config, tiny_eyes, capsys):
    config["data"]["init_args"]["store"]["init_args"]["path"] = "later"
    lines = looked(capsys, config)
    command = f"vlm extract --images world/images --backbone {tiny_eyes} --image-size 128 160"
    assert only(lines, "fail") == (
        f"fail  data.store: store later does not exist; make it: {command} --output later --views 3"
    )
    assert sum("all can be read" in line for line in lines) == 3


def test_the_command_that_is_told_is_one(config, tiny_eyes, capsys):
    config["data"]["init_args"]["store"]["init_args"]["path"] = "later"
    told = only(looked(capsys, config), "fail").partition("make it: vlm ")[2]
    assert main([*told.split(), "--dry-run", "--accelerator", "cpu"]) == 0


def test_a_store_with_fewer_views_or_damage(config, tiny_store, capsys):
    store = config["data"]["init_args"]["store"]["init_args"]
    store["views"] = 4
    assert "has 3 views, asked for 4; extract it with --views 4" in only(
        looked(capsys, config), "fail"
    )
    shutil.copytree(tiny_store, "copy")
    store |= {"views": 1, "path": "copy"}
    next(Path("copy").rglob("*.bin")).write_bytes(b"")
    assert "is cut off; remove" in only(looked(capsys, config), "fail")


@pytest.mark.parametrize("name", ["ids_rows.npy", "ids.txt", "sizes.npy", "regions-0.npy"])
@pytest.mark.parametrize("left", [0, 90, 140])
def test_a_store_with_a_damaged_index(config, name, left, tiny_store, capsys):
    shutil.copytree(tiny_store, "copy")
    config["data"]["init_args"]["store"]["init_args"]["path"] = "copy"
    file = Path("copy", "index", name)
    file.write_bytes(file.read_bytes()[:left])
    told = only(looked(capsys, config), "fail")
    assert told.startswith("fail  data.store: its index is damaged or has changed since it was")


def test_a_store_that_is_not_finished(config, tiny_store, capsys):
    shutil.copytree(tiny_store, "copy")
    config["data"]["init_args"]["store"]["init_args"]["path"] = "copy"
    Path("copy/manifest.json").rename("copy/extraction.json")
    assert "a store that is not finished" in only(looked(capsys, config), "fail")


def test_the_config_of_a_run_goes_on_with_it(tiny_run, capsys):
    assert main(["doctor", str(tiny_run / "config.yaml")]) == 0
    told = only(capsys.readouterr().out.splitlines(), "warn")
    best = tiny_run / "checkpoints" / "best.ckpt"
    assert told == (
        f"warn  {tiny_run / 'config.yaml'}, output: {tiny_run} holds a run already, this config's "
        f"own; go on with it by --ckpt_path {best}, or give another --output"
    )


def test_the_config_of_a_run_that_was_gone_on_with(config, capsys):
    Path("mine/checkpoints").mkdir(parents=True)
    Path("mine/checkpoints/best.ckpt").touch()
    Path("mine/checkpoints/last.ckpt").touch()
    tree = config | {"ckpt_path": "mine/checkpoints/best.ckpt", "output": "mine"}
    Path("mine/config.yaml").write_text(yaml.safe_dump(tree))
    assert main(["doctor", "--config", "mine/config.yaml"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warn")]
    assert "ckpt_path stands in it; give it as --ckpt_path FILE" in lines[0]
    assert "go on with it by --ckpt_path mine/checkpoints/last.ckpt, or" in lines[1]
    assert len(lines) == 2
    assert "mine holds a run already; give another --output, or go on" in only(
        looked(capsys, config | {"output": "mine"}), "fail"
    )


def test_a_store_of_another_backbone(config, tiny_eyes, capsys):
    backbone = config["model"]["init_args"]["backbone"]["init_args"]
    backbone["image_size"] = 96
    assert "was made from images of 128x160 bilinear, the model takes 96x96; extract" in only(
        looked(capsys, config), "fail"
    )
    assert "holds features of backbone" in only(looked(capsys, config, "--full"), "fail")
    backbone |= {"image_size": [128, 160], "name": "test_resnet", "pretrained": False}
    assert "the model has 'test_resnet'; extract a store with that one" in only(
        looked(capsys, config), "warn"
    )
    assert "holds features of backbone" in only(looked(capsys, config, "--full"), "fail")
    shutil.copytree(tiny_eyes.removeprefix("local-dir:"), "moved")
    backbone |= {"name": "local-dir:moved", "pretrained": True}
    assert "let --full compare weights" in only(looked(capsys, config), "warn")
    assert {line[:4] for line in looked(capsys, config, "--full")} == {"ok  "}


def test_imported_regions_need_no_backbone(config, capsys):
    config["model"]["init_args"]["backbone"] = part("vlm.models.ImportedRegions", name="x", width=7)
    lines = looked(capsys, config)
    assert "reads regions imported as 'x', no backbone is needed" in "".join(lines)
    assert "holds features of backbone" in only(lines, "fail")


def test_annotations_that_cannot_be_used(config, capsys):
    files = config["data"]["init_args"]["annotations"]
    Path("world/captions_val.json").write_text("{")
    files["test"] = "captions_tset.json"
    del files["train"]
    failed = [line for line in looked(capsys, config) if line.startswith("fail")]
    assert len(failed) == 3
    assert "data.annotations.train: there are no annotations for train; name a file" in failed[0]
    assert "data.annotations.val: file " in failed[1]
    assert "captions_tset.json does not exist; did you mean captions_test" in failed[2]


def test_images_that_were_trained_on(config, capsys):
    train = read_json(Path("world/captions_train.json"))
    test = read_json(Path("world/captions_test.json"))
    train["images"].append(test["images"][3])
    train["annotations"].append({"image_id": test["images"][3]["id"], "caption": "seen"})
    write_json(Path("world/captions_train.json"), train)
    told = only(looked(capsys, config), "fail")
    assert told.startswith("fail  data: expected no image in both train and test, got 1: ")


def test_images_that_the_store_lacks(config, capsys):
    tree = read_json(Path("world/captions_val.json"))
    tree["images"][0] |= {"id": 999_999, "file_name": "new.png"}
    tree["annotations"] = [row for row in tree["annotations"] if row["image_id"] in
                           {image["id"] for image in tree["images"]}]  # fmt: skip
    tree["annotations"].append({"id": 10**9, "image_id": 999_999, "caption": "new"})
    write_json(Path("world/captions_val.json"), tree)
    assert "has no image 999999; extract one that has" in only(looked(capsys, config), "fail")


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("data", "init_args", "bach_size"), 3, "no option data.bach_size; did you mean 'batch_s"),
        (("trainer", "max_epoch"), 3, "no option trainer.max_epoch; did you mean 'max_epochs'?"),
        (("data", "class_path"), "vlm.data.Captions", "data: there is no class vlm.data.Captions"),
        (("ckpt_path",), "a.ckpt", "ckpt_path stands in it; give it as --ckpt_path FILE"),
        (("output",), "world", "world holds a run already; give another --output"),
        (("trainer", "accelerator"), "cuda", "cuda asks for a GPU, torch sees none; make it auto"),
        (
            ("data", "init_args", "augmentation"),
            part("vlm.data.RandAugment"),
            "stored features cannot be augmented",
        ),
    ],
)
def test_options_that_cannot_be(place, value, words, config, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    if place == ("output",):
        Path("world/checkpoints").mkdir()
    tree = config
    for name in place[:-1]:
        tree = tree[name]
    tree[place[-1]] = value
    assert words in only(looked(capsys, config), "fail")


def test_a_config_laid_over_another(config, capsys):
    Path("over.yaml").write_text("data: {init_args: {root: nowhere}}\n")
    looked(capsys, config)
    assert main(["doctor", "--config", "fit.yaml", "--config", "over.yaml"]) == 2
    assert "nowhere/captions_train.json does not exist" in capsys.readouterr().out
    assert main(["doctor", "--config", "over.yaml"]) == 2
    assert main(["doctor", "--config", str(ROOT / "configs/blind.yaml")]) == 2
    assert "names no data; give the config that it is laid over" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "bad.yaml, line 1 is not YAML; correct it"), ("- a", "bad.yaml holds no options")],
)
def test_a_file_that_is_no_config(text, words, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text(text)
    assert main(["doctor", str(tmp_path / "bad.yaml")]) == 2
    assert words in capsys.readouterr().out


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.stem)
def test_our_own_configs_misspell_nothing(config, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["doctor", "--config", str(config)])
    told = capsys.readouterr().out
    assert "there is no option" not in told
    assert "there is no class" not in told
