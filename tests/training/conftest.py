"""Answerers that a tiny training has left."""

from pathlib import Path

import pytest
from tiny_fit import fit


@pytest.fixture(scope="session")
def answerer(tiny_world: Path, tiny_eyes: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit("demo_vqa.yaml", tiny_world, tiny_eyes, tmp_path_factory.mktemp("answerer"))


@pytest.fixture(scope="session")
def joint(tiny_world: Path, tiny_eyes: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    short = ["--model.decoding.max_length", "7"]
    return fit("demo_joint.yaml", tiny_world, tiny_eyes, tmp_path_factory.mktemp("joint"), *short)
