"""Overlays that are laid over a base, and the script that trains seeds of them."""

import csv
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from vlm.cli import main, trainer
from vlm.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
ASKED_OF = {"decoder": "vqav2_joint", "objective": "demo_scst"}
OVERLAYS = {path.stem: path for path in (CONFIGS / "ablations").glob("*.yaml")}
script = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "ablations.py")))


def test_every_question_has_two_answers_or_more():
    contents = [yaml.safe_load(path.read_text()) for path in OVERLAYS.values()]
    assert all(contents.count(content) == 1 for content in contents)
    questions = [name.partition("_")[0] for name in OVERLAYS]
    assert set(questions) == {"region", "smoothing", "vocabulary", "views", "objective", "decoder"}
    assert all(questions.count(question) >= 2 for question in questions)


def leaves(tree: Any, path: str = "") -> dict[str, str]:
    """The plain values of a config by their dotted places."""
    if not isinstance(tree, dict):
        return {path: str(tree)}
    parts = (leaves(part, f"{path}.{key}") for key, part in tree.items() if key != "config")
    return {place: value for part in parts for place, value in part.items()}


@cache
def parsed(*configs: Path) -> dict[str, str]:
    """What ``vlm fit`` makes of configs; nothing of it is built."""
    arguments = [part for config in configs for part in ("--config", str(config))]
    with pytest.MonkeyPatch.context() as patch:
        for step in ("before_instantiate", "instantiate", "after_instantiate"):
            patch.setattr(trainer.TrainerCLI, f"{step}_classes", lambda _: None)
        return leaves(trainer.TrainerCLI("fit", arguments, None, None).config["fit"].as_dict())


@pytest.mark.parametrize("name", sorted(OVERLAYS))
def test_an_overlay_changes_what_it_names_and_nothing_else(name: str):
    """Over one base; tests/test_configs.py has it trained over another."""
    base = CONFIGS / f"{ASKED_OF.get(name.partition('_')[0], 'demo')}.yaml"
    below, above = parsed(base), parsed(base, OVERLAYS[name])
    named = leaves(yaml.safe_load(OVERLAYS[name].read_text()))
    assert named.items() <= above.items()
    parts = tuple(place.removesuffix("class_path") for place in named)
    changed = {place for place, _ in below.items() ^ above.items()}
    assert all(place.startswith(parts) for place in changed), changed


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Trainings run in this process; what each was asked, in order."""
    asked: list[list[str]] = []

    def train(arguments: list[str], log: Path) -> int:
        asked.append(arguments)
        status = main(["fit", *arguments])
        log.write_text("\nvlm: error: what went wrong\n" if status else "")
        return status

    monkeypatch.setitem(script.main.__globals__, "train", train)
    return asked


@pytest.fixture
def line(tiny_arguments: list[str], tmp_path: Path) -> list[str]:
    """The script's options for two seeds of an epoch on the tiny world."""
    names, values = tiny_arguments[2::2], tiny_arguments[3::2]
    pairs = dict(zip(names, values, strict=True)) | {"--trainer.max_epochs": "1"}
    settings = [f"{name.removeprefix('--')}={value}" for name, value in pairs.items()]
    options = ["--config", tiny_arguments[1], "--seeds", "2", "--output", str(tmp_path / "out")]
    return [*options, "--set", *settings]


def overlays(*names: str) -> list[str]:
    return [str(OVERLAYS[name]) for name in names]


def table_of(told: str) -> list[list[str]]:
    """The cells of the printed table, whose first row begins with no name."""
    lines = [line for line in told.splitlines() if " ± " in line or "CIDEr-D" in line]
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


def test_seeds_of_overlays_become_a_table_and_nothing_is_trained_twice(
    line: list[str], here: list[list[str]], tmp_path: Path, capsys
):
    names = ["region_layers_0", "smoothing_off"]
    assert script.main([*overlays(*names), *line]) == 0
    assert [run[4] for run in here] == ["--seed_everything=0"] * 2 + ["--seed_everything=1"] * 2
    head, *rows = table_of(capsys.readouterr().out)
    out = tmp_path / "out"
    assert head[:2] == ["seeds", "minutes"]
    assert [row[:2] for row in rows] == [[name, "2"] for name in names]
    for name, row in zip(names, rows, strict=True):
        files = [out / name / f"seed-{seed}" / "metrics.json" for seed in range(2)]
        scores = [100 * read_json(file)["scores"]["BLEU-1"] for file in files]
        mean, apart = sum(scores) / 2, abs(scores[0] - scores[1])
        assert row[1 + head.index("BLEU-1")] == f"{mean:.1f} ± {apart / 2**0.5:.1f}"
    with (out / "ablations.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["overlay"], row["seed"]) for row in table] == [(n, s) for n in names for s in "01"]
    whole = read_json(out / "ablations.json")
    assert [str(row["BLEU-1"]) for row in whole["runs"]] == [row["BLEU-1"] for row in table]
    assert whole["overlays"]["smoothing_off"]["BLEU-1"]["mean"] == pytest.approx(mean)

    assert script.main([*overlays(*names), *line]) == 0
    assert len(here) == 4
    assert table_of(capsys.readouterr().out) == [head, *rows]


def test_what_fails_or_was_stopped_costs_the_others_nothing(
    line: list[str], here: list[list[str]], tmp_path: Path, capsys
):
    out, line = tmp_path / "out", [*line, "--seeds", "1"]
    (out / "region_layers_0" / "seed-0" / "checkpoints").mkdir(parents=True)  # was stopped
    assert script.main([*overlays("views_5", "region_layers_0"), *line]) == 1
    told = capsys.readouterr()
    assert "ablations: error: vlm: error: what went wrong (" in told.err
    assert "region_layers_0      1" in told.out
    assert "±" not in told.out
    assert not (out / "views_5" / "seed-0.json").exists()
    assert script.main([*overlays("views_5", "region_layers_0"), *line]) == 1
    assert [("views_5" in str(run)) for run in here] == [True, False, True]


def test_a_run_without_validation_is_told(line: list[str], here: list[list[str]], capsys):
    never = ["trainer.check_val_every_n_epoch=2", "--seeds", "1"]
    assert script.main([*overlays("smoothing_on"), *line, *never]) == 1
    assert (
        "no validation took place; lower trainer.check_val_every_n_epoch" in capsys.readouterr().err
    )


def test_runs_of_other_options_are_not_mixed(line: list[str], tmp_path: Path, capsys):
    asked = [*overlays("smoothing_on"), *line]
    (run, *_) = script.plan(script._parser().parse_args(asked))
    write_json(run.record, {"made": run.made, "minutes": 1.0, "scores": {"BLEU-1": 10.0}})
    script.plan(script._parser().parse_args(asked))
    assert script.main([*asked, "trainer.max_epochs=3"]) == 2
    assert "was trained with another config, overlay or --set; " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{overlay}", "--seeds", "0"], "--seeds expected 1 or more, got 0"),
        (["{overlay}", "--set", "trainer.max_epochs"], "expected NAME=VALUE, got 'trainer.max_ep"),
        (["{overlay}", "{overlay}"], "two overlays have one name"),
        (["gone.yaml"], "file gone.yaml does not exist; check the path"),
        ([], "required: overlay"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, words, tmp_path, capsys):
    given = [part.format(overlay=OVERLAYS["smoothing_on"]) for part in arguments]
    options = ["--config", str(CONFIGS / "demo.yaml"), "--output", str(tmp_path)]
    assert script.main([*options, *given] if given else options) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("ablations: error: ")
    assert words in told


def test_scores_of_two_tasks_are_told_apart_and_are_per_cent():
    captions = {"signature": "bleu|refs:5", "scores": {"CIDEr-D": 0.5}}
    answers = {"signature": "vqa|answers:10", "scores": {"overall": 61.5}}
    assert script.scores_of(captions) == {"CIDEr-D": 50.0}
    assert script.scores_of(answers) == {"overall": 61.5}
    both = {"captions": captions, "answers": answers, "precision": "32-true"}
    assert script.scores_of(both) == {"captions CIDEr-D": 50.0, "answers overall": 61.5}


def test_a_cell_has_a_deviation_of_a_sample_where_there_is_one():
    assert script.cell([10.0, 13.0, 16.0]) == "13.0 ± 3.0"
    assert script.cell([10.04]) == "10.0"


@pytest.mark.slow
def test_trainings_in_processes_of_their_own(line: list[str], tmp_path: Path, capsys):
    assert script.main([*overlays("region_layers_0", "smoothing_off"), *line]) == 0
    assert len(table_of(capsys.readouterr().out)) == 3
    assert "written to" in (tmp_path / "out" / "smoothing_off" / "seed-1.log").read_text()
