"""Self-critical trainings through the command's door, of several tasks, in several processes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_fit import CONFIGS, fit

from vlm.cli import trainer
from vlm.errors import InputError
from vlm.files import read_json
from vlm.training import checkpoint as checkpoints
from vlm.training.module import VisionLanguageModule
from vlm.training.self_critical import SelfCritical

NUMBERS = ("reward", "greedy reward", "advantage deviation", "words", "bad endings")
NUMBERS += ("distinct captions", "unfinished")
SCST = ["--config", str(CONFIGS / "demo_scst.yaml"), "--trainer.log_every_n_steps", "1"]


def logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


@pytest.fixture(scope="module")
def scst(
    tiny_arguments: list[str], tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of an epoch that goes on from the tiny captioner."""
    output = tmp_path_factory.mktemp("scst")
    more = ["--start", str(tiny_checkpoint), "--trainer.max_epochs", "1", "--output", str(output)]
    trainer.run("fit", [*tiny_arguments, *SCST, *more])
    return output


def test_every_step_is_logged(scst: Path):
    rows = logged(scst)
    assert len(rows) == 5
    for row in rows:
        assert all(float(row[f"train/{name}"]) >= 0 for name in NUMBERS)


def test_the_record_has_the_signature_of_the_reward(scst: Path):
    line = read_json(scst / "run.json")["objective"]["captions"]
    assert line.startswith("cider-d|refs:")
    assert "|n:24|" in line
    assert "|end:word|" in line


def test_the_checkpoint_rebuilds_the_objective_and_is_tested(scst: Path, tmp_path: Path):
    best = scst / "checkpoints" / "best.ckpt"
    module = VisionLanguageModule.load(best)
    assert isinstance(module.captioning.objective, SelfCritical)
    assert module.captioning.objective.baseline == "others"
    trainer.run("test", ["--ckpt_path", str(best), "--output", str(tmp_path)])
    assert read_json(tmp_path / "metrics.json")["images"] == 7


def test_words_that_the_start_does_not_have_are_untaught(
    tiny_arguments: list[str], tiny_checkpoint: Path, tmp_path: Path
):
    known = checkpoints.read(tiny_checkpoint)[checkpoints.SECTION]["tokenizer"]
    more = ["--data.vocabulary.min_count", "1", "--trainer.limit_train_batches", "1"]
    more += ["--trainer.max_epochs", "1", "--start", str(tiny_checkpoint)]
    cli = trainer.run("fit", [*tiny_arguments, *SCST, *more, "--output", str(tmp_path)])
    task = cli.model.captioning
    words = task.tokenizer.vocabulary
    untaught = {word for word, place in words.items() if place in task.untaught}
    assert untaught == {word for word in words if f'"{word}":' not in known}
    assert 0 < len(untaught) < len(words)


def test_captions_and_answers_are_learnt_together(tiny_world: Path, tiny_eyes: str, tmp_path: Path):
    options = {
        "model.objective": "vlm.training.SelfCritical",
        "model.objective.max_length": "9",
        "model.decoding.max_length": "7",
        "trainer.log_every_n_steps": "1",
    }
    more = [part for name, value in options.items() for part in (f"--{name}", value)]
    best = fit("demo_joint.yaml", tiny_world, tiny_eyes, tmp_path, *more)
    module = VisionLanguageModule.load(best)
    assert isinstance(module.captioning.objective, SelfCritical)
    for row in logged(tmp_path):
        parts = [float(row[f"train/loss of {name}"]) for name in ("captions", "answers")]
        assert float(row["train/loss"]) == pytest.approx(sum(parts) / 2, abs=1e-5)
        assert float(row["train/reward"]) >= 0


@pytest.mark.parametrize("config", ["demo_scst.yaml", "demo.yaml"])
def test_questions_alone_are_refused(config: str, tiny_world: Path, tiny_eyes: str, tmp_path: Path):
    vqa = (CONFIGS / "demo_vqa.yaml").read_text().partition("\ndata:")[2]
    (tmp_path / "data.yaml").write_text(f"data:{vqa}")
    options = ["--config", str(CONFIGS / config), "--config", str(tmp_path / "data.yaml")]
    options += ["--model.backbone.name", tiny_eyes, "--data.root", str(tiny_world)]
    options += ["--start", "null", "--data.store", "null", "--output", str(tmp_path / "run")]
    with pytest.raises(
        InputError, match=r"none of the 24 training images has a caption.*give data"
    ):
        trainer.run("fit", options)


def test_a_collapse_leaves_the_checkpoint_of_the_last_validation(
    tiny_arguments: list[str], tiny_checkpoint: Path, tmp_path: Path
):
    """Five steps an epoch; after the first of seven steps that can be judged all is too alike."""
    options = {
        "start": str(tiny_checkpoint),
        "model.objective.temperature": "0.01",  # the greedy caption, again and again
        "model.objective.guard.steps": "7",
        "model.objective.guard.least_distinct": "0.9",
        "output": str(tmp_path),
    }
    pairs = [part for name, value in options.items() for part in (f"--{name}", value)]
    with pytest.raises(InputError, match=r"over the last 7 steps .* its checkpoints left"):
        trainer.run("fit", [*tiny_arguments, *SCST, "--trainer.max_epochs", "3", *pairs])
    assert len(logged(tmp_path)) == 6
    best = checkpoints.read(tmp_path / "checkpoints" / "best.ckpt")
    assert best["global_step"] == 5


TWO = """
import sys
import torch
sys.path[:0] = {path!r}
from test_captioning import make_data, make_module, make_trainer, weights
from pathlib import Path
from vlm.training.self_critical import SelfCritical

data = make_data(Path({world!r}))
module = make_module(data, objective=SelfCritical(max_length=9), learning_rate=1e-2)
before = weights(module)
processes = dict(devices=2, strategy="ddp", use_distributed_sampler=False)
short = dict(max_epochs=1, limit_val_batches=0, log_every_n_steps=1)
trainer = make_trainer({folder!r}, **processes, **short)
trainer.fit(module, data)
numbers = {{name: float(value) for name, value in trainer.callback_metrics.items()}}
signature = module.captioning.signature
content = [before, weights(module), numbers, signature, trainer.global_step]
torch.save(content, {folder!r} + f"/{{trainer.global_rank}}.pt")
"""


def test_two_processes_draw_apart_and_learn_together(tiny_world: Path, tmp_path: Path):
    path = [str(Path(__file__).parent)]
    script = tmp_path / "two.py"
    script.write_text(TWO.format(path=path, world=str(tiny_world), folder=str(tmp_path)))
    subprocess.run([sys.executable, str(script)], check=True, timeout=200)
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert one[4] == two[4] == 3, "12 images each, in batches of 5"
    for name, value in one[1].items():
        assert torch.equal(value, two[1][name]), name
    assert any(not torch.equal(value, one[0][name]) for name, value in one[1].items())
    assert one[2] != two[2], "the same captions were drawn, and earned the same"
    assert one[3] == two[3]
    assert "|n:24|" in one[3], "each counts the references of all images"
