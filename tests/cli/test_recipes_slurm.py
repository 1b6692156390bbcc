"""The SLURM scripts, run whole: one task in this process, and two nodes that share a machine."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from machine import ROOT, Machine

from vlm.data import FeatureStore
from vlm.files import read_json

SCRIPTS = sorted((ROOT / "scripts").glob("*_slurm.sh"))
SLURM = {
    "SLURM_JOB_ID": "7001",
    "SLURM_JOB_NAME": "recipe",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS_PER_NODE": "1",
    "SLURM_CPUS_PER_TASK": "1",
}
TWO_NODES = SLURM | {"SLURM_NNODES": "2", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    monkeypatch.chdir(tmp_path)
    return Machine(tmp_path)


@pytest.fixture
def extract(tiny_world: Path, tiny_eyes: str) -> dict[str, str]:
    return {
        "IMAGES": str(tiny_world / "images"),
        "BACKBONE": tiny_eyes,
        "STORE": "features",
        "EXTRACT": "--accelerator cpu --batch-size 2",
    }


@pytest.fixture
def fit(tiny_world: Path, tiny_eyes: str) -> dict[str, str]:
    splits = {split: f"captions_{split}.json" for split in ("train", "val", "test")}
    options = {
        "trainer.accelerator": "cpu",
        "trainer.max_epochs": "1",
        "trainer.enable_progress_bar": "false",
        "trainer.enable_model_summary": "false",
        "model.backbone.name": tiny_eyes,
        "model.encoder.layers": "1",
        "model.decoder.layers": "1",
        "model.decoding.max_length": "6",
        "data.root": str(tiny_world),
        "data.annotations": json.dumps(splits).replace(" ", ""),
        "data.store.init_args.path": "features",
        "data.store.init_args.views": "1",
        "data.batch_size": "6",
    }
    words = " ".join(f"--{name} {value}" for name, value in options.items())
    return {"CONFIG": "configs/coco_clip.yaml", "RUN": "run", "FIT": words}


def epochs(run: Path) -> int:
    """That were validated, by the log of the last start."""
    return int((run / "metrics.csv").read_text().splitlines()[-1].split(",")[0]) + 1


def test_one_task_extracts_and_fits_and_goes_on(machine, extract, fit):
    status, told = machine.run("extract_slurm.sh", **SLURM | extract)
    assert status == 0, told
    status, told = machine.run("fit_slurm.sh", **SLURM | fit)
    assert status == 0, told
    assert "--ckpt_path" not in machine.calls[-1]
    more = "--trainer.max_epochs 2"
    status, told = machine.run("fit_slurm.sh", **SLURM | fit | {"FIT": more})
    assert status == 0, told
    given = ["--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt"]
    assert machine.calls[-1][1:5] == given
    assert epochs(Path("run")) == 2


@pytest.mark.slow
def test_two_nodes_extract_and_fit_and_go_on(machine, extract, fit, tiny_world: Path):
    status, told = machine.run_apart("extract_slurm.sh", **TWO_NODES | extract)
    assert status == 0, told
    assert "Starting with 2 processes" in told
    assert len(FeatureStore("features")) == len(list((tiny_world / "images").iterdir()))
    status, told = machine.run_apart("fit_slurm.sh", **TWO_NODES | fit)
    assert status == 0, told
    more = "--trainer.max_epochs 2"
    status, told = machine.run_apart("fit_slurm.sh", **TWO_NODES | fit | {"FIT": more})
    assert status == 0, told
    assert "Restored all states from the checkpoint at run/checkpoints/last.ckpt" in told
    assert epochs(Path("run")) == 2
    assert len(read_json(Path("run/results.json"))) == 7


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_job_goes_back_into_the_queue_before_its_time_is_over(machine, script: Path):
    machine.command("srun", "#!/bin/sh\ntouch started; sleep 60\n")
    given = {"IMAGES": "a", "BACKBONE": "b", "STORE": "c", "CONFIG": "d", "RUN": "e"}
    with machine.log.open("wb") as stream:
        process = machine.start(script.name, SLURM | given, stream)
        try:
            while not Path("started").exists():
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGUSR1)
            assert process.wait(timeout=30) != 0
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert Path("scontrol.log").read_text() == "requeue 7001\n"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_task_has_one_device(script: Path):
    found = dict(re.findall(r"#SBATCH --(\w+)-per-node=(\d+)", script.read_text()))
    assert found["ntasks"] == found["gpus"], "Lightning wants a task for each device"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_must_be_given_is_asked_for(machine, script: Path):
    status, told = machine.run(script.name, **SLURM)
    assert status != 0
    assert re.search(r"(IMAGES: folder or file of the images|CONFIG: file of the experiment)", told)
