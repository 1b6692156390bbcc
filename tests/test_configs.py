"""Every YAML under configs/ fits, is reloaded, and names a backbone that timm can fetch."""

from pathlib import Path

import pytest
import timm
import yaml

from vlm.cli import trainer
from vlm.training.module import VisionLanguageModule

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ALL = sorted(CONFIGS.rglob("*.yaml"))
OVERLAYS = {
    "blind": "flickr8k",
    "blind_vqa": "daquar",
    "wandb": "flickr8k",
    "coco_scst": "coco_clip",
}


FILES = {
    "CaptionData": {"annotations": "captions"},
    "VQAData": {"questions": "questions", "annotations": "annotations"},
    "JointData": {
        "captions": "captions",
        "questions": "questions",
        "annotations": "annotations",
    },
}

# What a question of the ablations is asked of, if not of flickr8k.
ASKED_OF = {"decoder": "demo_joint", "objective": "flickr8k_scst"}
ABLATIONS = {path.stem for path in (CONFIGS / "ablations").iterdir()}
OVERLAYS |= {name: ASKED_OF.get(name.partition("_")[0], "flickr8k") for name in ABLATIONS}


def files(kind: str) -> str:
    """The files of the tiny world's splits, as an option."""
    splits = {split: f"{kind}_{split}.json" for split in ("train", "val", "test")}
    return yaml.safe_dump(splits, default_flow_style=True).strip()


def class_path(config: Path, part: str) -> str:
    return yaml.safe_load(config.read_text())[part]["class_path"]


def test_all_configs_are_known():
    captions = {"demo", "flickr8k", "coco_siglip2", "coco_clip", "demo_scst", "flickr8k_scst"}
    answers = {"demo_vqa", "daquar", "coco_vqa", "vqav2", "vqav2_mcan", "vqav2_writer"}
    joint = {"demo_joint", "vqav2_joint"}
    assert {path.stem for path in ALL} == captions | answers | joint | {*OVERLAYS}


@pytest.mark.parametrize("config", ALL, ids=lambda path: path.stem)
def test_the_header_says_its_command(config: Path):
    header = [line for line in config.read_text().splitlines() if line.startswith("#")]
    assert any("vlm fit --config" in line for line in header)


@pytest.mark.parametrize("config", ALL, ids=lambda path: path.stem)
def test_backbones_have_a_public_source(config: Path):
    tree = yaml.safe_load(config.read_text())
    parts = tree.get("model", {}).get("init_args", {})
    if "backbone" in parts:
        name = parts["backbone"]["init_args"]["name"]
        assert name.startswith("local-dir:") or name in timm.list_pretrained()


@pytest.mark.parametrize("config", ALL, ids=lambda path: path.stem)
def test_a_config_fits_and_reloads(
    config: Path, tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    below = OVERLAYS.get(config.stem)
    base = [] if below is None else ["--config", str(CONFIGS / f"{below}.yaml")]
    task = class_path(CONFIGS / f"{below or config.stem}.yaml", "data").rpartition(".")[2]
    options = {
        "trainer.max_epochs": "1",
        "trainer.check_val_every_n_epoch": "1",
        "trainer.limit_train_batches": "1",
        "trainer.limit_val_batches": "1",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "trainer.accelerator": "cpu",
        "model.backbone.name": "test_resnet",
        "model.backbone.pretrained": "false",
        "data.root": str(tiny_world),
        "data.images": "images",
        **{f"data.{name}": files(kind) for name, kind in FILES[task].items()},
        "start": "null",
        "data.store": "null",
        "data.batch_size": "2",
        "data.workers": "0",
        "output": str(tmp_path),
    }
    pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
    cli = trainer.run("fit", [*base, "--config", str(config), *pairs])
    best = next((tmp_path).rglob("best.ckpt"))
    again = VisionLanguageModule.load(best)
    assert type(again) is type(cli.model)
    assert type(again.network.encoder) is type(cli.model.network.encoder)
    assert again.backbone.hash == cli.model.backbone.hash
