"""``vlm baseline shuffled``: what it refuses, without advice that it has no option for."""

import json
from pathlib import Path

import pytest

from vlm.cli import main

CAPTIONS = {7: "a dog", 11: "two cats", 13: "a bus"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run and the references of its images."""
    rows = [{"image_id": key, "caption": text} for key, text in CAPTIONS.items()]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.json").write_text(json.dumps(rows))
    tree = {"images": [{"id": key} for key in CAPTIONS], "annotations": rows}
    (tmp_path / "references.json").write_text(json.dumps(tree))
    (tmp_path / "part.json").write_text(json.dumps(rows[:2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shuffle(results: str, output: str, *arguments: str) -> int:
    files = ["shuffled", results, "--references", "references.json", "--output", output]
    return main(["baseline", *files, *arguments])


def test_a_run_is_shuffled(folder):
    assert shuffle("run", "out") == 0
    rows = json.loads(Path("out/results.json").read_text())
    assert [row["image_id"] for row in rows] == [*CAPTIONS]
    assert sorted(row["caption"] for row in rows) == sorted(CAPTIONS.values())
    assert all(row["caption"] != CAPTIONS[row["image_id"]] for row in rows)


@pytest.mark.parametrize(
    ("results", "output", "sentence"),
    [
        ("part.json", "out", "part.json lacks image_id 13; add them\n"),
        ("run", "run", "--output names run/results.json, which is read; name another\n"),
        ("run", "part.json", "--output expected a folder to write to, got part.json; name"),
        (".", "out", "folder . holds no results.json; give a result file"),
    ],
)
def test_what_cannot_be_shuffled(folder, capsys, results, output, sentence):
    assert shuffle(results, output) == 2
    assert sentence in capsys.readouterr().err
    assert not Path("out").exists()
    assert not Path("run/metrics.json").exists()


def test_neighbours_and_seeds_that_cannot_be(folder, capsys):
    assert shuffle("run", "out", "--seed", "-1") == 2
    assert "expected a seed of at least 0, got -1" in capsys.readouterr().err
    options = ["--output", "out", "--neighbours", "0"]
    assert main(["baseline", "nearest", "none.ckpt", *options]) == 2
    assert "expected 1 or more neighbours, got 0" in capsys.readouterr().err
