"""``vlm doctor`` without a path: this machine, one line each; and its door."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch

from vlm.cli import main
from vlm.cli.doctor import machine
from vlm.cli.doctor.finding import fail, guarded, ok
from vlm.disk import in_words
from vlm.errors import InputError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty folder, and no Java to start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vlm.metrics.java.missing", lambda metric: "needs Java 8+")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "none")


def told(capsys, status: int = 0) -> dict[str, tuple[str, str]]:
    """What a run says, by subject: its status and the rest of the line."""
    assert main(["doctor"]) == status
    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    assert {status.strip() for status, _ in lines} <= {"ok", "warn", "fail"}
    split = [(status.strip(), *line.strip().split(": ", 1)) for status, line in lines]
    return {subject: (status, rest) for status, subject, rest in split}


def test_a_sound_machine_is_ok_line_by_line(capsys, tmp_path):
    found = told(capsys)
    subjects = ["Python", "libraries", "accelerator", "METEOR", "h5py", "wandb", "current folder"]
    subjects += ["weights", "temporary files"]
    assert [subject for subject in found if subject in subjects] == subjects
    assert found["Python"] == ("ok", f"{sys.version.split()[0]}, needs >=3.11")
    assert f"torch {torch.__version__}" in found["libraries"][1] or "+" in torch.__version__
    assert found["current folder"][1].startswith(f"{tmp_path}, ")
    assert list(tmp_path.iterdir()) == [], "nothing is written"


def test_help_is_light():
    code = "import vlm.cli, sys; vlm.cli.main(['doctor', '--help'])"
    script = f"try:\n {code}\nexcept SystemExit: print([m for m in ('torch', 'numpy', 'lightning')"
    script += " if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("timm", "0.9.2", 'timm: 0.9.2 is too old, needs >=1.0.31; pip install "timm>=1.0.31"'),
        ("jsonargparse", "5.1", "jsonargparse: 5.1 is too new, needs <5,>=4.53; pip install "),
        ("numpy", None, 'numpy: is not installed; pip install "numpy>=2.0"'),
    ],
)
def test_a_library_out_of_its_bounds_fails(name, version, reason, monkeypatch, capsys):
    real = metadata.version

    def claimed(asked: str) -> str:
        if asked != name:
            return real(asked)
        if version is None:
            raise metadata.PackageNotFoundError(asked)
        return version

    monkeypatch.setattr(metadata, "version", claimed)
    assert main(["doctor"]) == 2
    output = capsys.readouterr()
    assert f"fail  {reason}" in output.out
    assert "ok    libraries" not in output.out
    assert output.err.startswith("vlm: error: 1 of ")
    assert output.err.endswith(
        " checks failed; do what their lines say, then run vlm doctor again\n"
    )


def test_a_prerelease_and_a_local_build_are_within_bounds(monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda name: "4.99.0rc1+cpu")
    monkeypatch.setattr(metadata, "requires", lambda name: ["jsonargparse[signatures]<5,>=4.53"])
    assert [finding.status for finding in machine.versions()] == ["ok", "ok"]


def test_a_package_that_is_not_installed_is_told(monkeypatch):
    def gone(name: str):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "metadata", gone)
    (finding,) = machine.versions()
    assert str(finding) == (
        "fail  versions: vlm is not installed, so the bounds are not known; "
        "in its folder: pip install -e ."
    )


def test_a_torch_that_cannot_be_loaded_does_not_stop_the_rest(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = told(capsys, status=2)
    assert found["torch"][0] == "fail"
    assert found["torch"][1].startswith("cannot be loaded; install it again: pip install ")
    assert {"METEOR", "wandb", "current folder"} <= set(found)


# --- Accelerators ----------------------------------------------------------------------------


class Card:
    """A CUDA of one card, as torch tells of it."""

    def __init__(self, monkeypatch, *, free: float = 70e9, works: bool = True, bf16: bool = True):
        def ones(*shape, device):
            assert device == "cuda:0"
            if not works:
                raise RuntimeError("no kernel image is available")
            return torch.zeros(shape)

        for name, value in {
            "is_available": True,
            "device_count": 1,
            "get_device_name": "Card X",
            "mem_get_info": (free, 80e9),
            "is_bf16_supported": bf16,
        }.items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
        monkeypatch.setattr(torch, "ones", ones)


def accelerator() -> str:
    (finding,) = machine.accelerators()
    return str(finding)


def test_a_card_is_tried_and_told(monkeypatch):
    Card(monkeypatch)
    assert accelerator() == "ok    accelerator 0: Card X, 70.0 GB of 80.0 GB free, bf16"
    Card(monkeypatch, bf16=False)
    assert accelerator().endswith("no bf16, so fp32")
    Card(monkeypatch, free=3e8)
    assert accelerator().startswith(
        "warn  accelerator 0: Card X, 300 MB of 80.0 GB free, bf16; end"
    )
    Card(monkeypatch, works=False)
    assert accelerator().startswith("fail  accelerator 0: Card X computes nothing with torch ")


@pytest.mark.parametrize(
    ("cuda", "hidden", "words"),
    [
        (None, None, "it is built without CUDA; install a CUDA build"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES is ''; unset that"),
        ("13.0", None, "sees no card; update the driver for CUDA 13.0"),
    ],
)
def test_a_card_that_torch_does_not_see(cuda, hidden, words, monkeypatch, tmp_path):
    (tmp_path / "version").touch()
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert accelerator().startswith("warn  accelerator: an NVIDIA driver is here")
    assert words in accelerator()


def test_more_threads_than_cores(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    assert accelerator() == (
        "warn  accelerator: none; CPU of 3 cores, torch takes 64 threads; "
        "set OMP_NUM_THREADS=3, more are slower"
    )


# --- Optional parts and room -----------------------------------------------------------------


def test_an_extra_that_is_absent_is_well_and_a_broken_one_is_not(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert machine.java_metrics().status == machine.hdf5().status == "ok"
    assert "pip install vlm[hdf5]" in machine.hdf5().told
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert str(machine.java_metrics()).startswith("warn  METEOR: needs Java 8+; install a Java")


def test_wandb_is_online_with_a_login(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_MODE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "stay offline" in machine.wandb_state().told
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert "online" in machine.wandb_state().told
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert "'disabled'" in machine.wandb_state().told


def test_a_full_disk_and_a_folder_that_takes_nothing(monkeypatch, tmp_path):
    full = SimpleNamespace(free=5e6, total=64e6)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    there = tmp_path / "not" / "yet"
    line = str(machine.room("here", there, remedy="make room"))
    assert line == f"warn  here: {there}, 5 MB free; make room"
    assert machine.weights_folder().status == machine.temporary_folder().status == "warn"
    assert "--shm-size" in machine.shared_memory().told
    monkeypatch.undo()
    monkeypatch.setattr(os, "access", lambda folder, how: False)
    assert "but it cannot be written to; make room" in str(
        machine.room("here", there, remedy="make room")
    )


def test_weights_offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    line = str(machine.weights_folder())
    assert line.startswith(f"warn  weights: {tmp_path}, 0 models there, HF_HUB_OFFLINE is set")
    (tmp_path / "models--timm--eyes").mkdir()
    assert machine.weights_folder().status == "ok"
    assert ", 1 models there, HF_HUB_OFFLINE is set" in machine.weights_folder().told


# --- The door --------------------------------------------------------------------------------


def test_what_cannot_be_looked_into_is_one_line():
    def broken(error: Exception):
        yield ok("first", "well")
        raise error

    refusal = [*guarded("x", broken(InputError("a b\n c; do d")))]
    assert [str(finding) for finding in refusal] == ["ok    first: well", "fail  x: a b c; do d"]
    denied = [*guarded("x", broken(PermissionError(13, "Permission denied", "/y")))]
    assert denied[1] == fail("x", "/y cannot be read (Permission denied)", "make it readable")


def test_images_go_with_a_path(capsys):
    assert main(["doctor", "--images", "photos"]) == 2
    assert "--images goes with a PATH" in capsys.readouterr().err


def test_sizes_for_people():
    assert [in_words(size) for size in (4321, 12e6, 1.94e9)] == ["4 kB", "12 MB", "1.9 GB"]
