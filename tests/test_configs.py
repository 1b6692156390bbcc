"""Every YAML under configs/ fits, is reloaded, and names a backbone that timm can fetch."""

from pathlib import Path

import pytest
import timm
import yaml

from vlm.cli import trainer
from vlm.training.captioning import CaptioningModule

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
ALL = sorted(CONFIGS.rglob("*.yaml"))
OVERLAYS = {"blind", "wandb"}


def test_all_configs_are_known():
    experiments = {"demo", "flickr8k", "coco_siglip2", "coco_clip"}
    assert {path.stem for path in ALL} == experiments | OVERLAYS


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
    base = ["--config", str(CONFIGS / "flickr8k.yaml")] if config.stem in OVERLAYS else []
    splits = {split: f"captions_{split}.json" for split in ("train", "val", "test")}
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
        "data.annotations": yaml.safe_dump(splits, default_flow_style=True).strip(),
        "data.store": "null",
        "data.batch_size": "2",
        "data.workers": "0",
        "output": str(tmp_path),
    }
    pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
    cli = trainer.run("fit", [*base, "--config", str(config), *pairs])
    best = next((tmp_path).rglob("best.ckpt"))
    again = CaptioningModule.load(best)
    assert again.captioner.encoder.__class__ is cli.model.captioner.encoder.__class__
    assert again.backbone.hash == cli.model.backbone.hash
