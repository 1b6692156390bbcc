"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

SHARED_DEFAULT = Path(__file__).resolve().parents[2] / "shared"
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def pytest_report_header() -> str:
    """Which folder of real data the tests read."""
    return f"shared folder: {os.environ.get('VLM_SHARED', SHARED_DEFAULT)}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photos, weights and goldens: ``VLM_SHARED``, else ``../shared``."""
    folder = Path(os.environ.get("VLM_SHARED", SHARED_DEFAULT))
    if not (folder / "data").is_dir():
        reason = f"no shared data at {folder}; set VLM_SHARED to the folder that holds data/"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn world of a few scenes: 24 to train on, 7 for each other split."""
    from vlm.data.world import World

    folder = tmp_path_factory.mktemp("world")
    World(seed=5).write(folder, {"train": 24, "val": 7, "test": 7, "test_seen": 7})
    return folder


@pytest.fixture(scope="session")
def tiny_eyes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a backbone with random weights that are always the same ones."""
    import timm
    import torch

    folder = tmp_path_factory.mktemp("eyes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        model = timm.create_model("test_resnet", num_classes=0)
    timm.models.save_for_hf(model, folder, safe_serialization=True)
    return f"local-dir:{folder}"


@pytest.fixture(scope="session")
def tiny_store(tiny_world: Path, tiny_eyes: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tiny eyes see in the tiny world, three views of each scene."""
    from vlm.data.folders import list_images
    from vlm.extract import Extraction
    from vlm.formats.image_list import listed
    from vlm.models import FrozenBackbone

    folder = tmp_path_factory.mktemp("features") / "store"
    images = listed(list_images(tiny_world / "images"), tiny_world / "images")
    backbone = FrozenBackbone(tiny_eyes, image_size=(128, 160))
    Extraction(images, backbone, folder, views=3, batch_size=5).run()
    return folder


@pytest.fixture(scope="session")
def tiny_arguments(tiny_world: Path, tiny_eyes: str, tiny_store: Path) -> list[str]:
    """Options that shrink ``configs/demo.yaml`` to a few seconds, on random eyes."""
    options = {
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "trainer.max_epochs": "3",
        "trainer.check_val_every_n_epoch": "1",
        "model.backbone.name": tiny_eyes,
        "model.encoder.width": "24",
        "model.decoder.width": "24",
        "model.decoding.max_length": "7",
        "data.root": str(tiny_world),
        "data.store.init_args.path": str(tiny_store),
        "data.batch_size": "5",
    }
    pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
    return ["--config", str(CONFIGS / "demo.yaml"), *pairs]


@pytest.fixture(scope="session")
def tiny_run(tiny_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny training."""
    from vlm.cli import trainer

    output = tmp_path_factory.mktemp("run")
    trainer.run("fit", [*tiny_arguments, "--output", str(output)])
    return output


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_run: Path) -> Path:
    """The checkpoint of the tiny training."""
    return tiny_run / "checkpoints" / "best.ckpt"
