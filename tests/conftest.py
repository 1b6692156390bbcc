"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

SHARED_DEFAULT = Path(__file__).resolve().parents[2] / "shared"


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
