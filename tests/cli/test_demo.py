"""The demo leaves what it promises; small here, whole under the slow marker."""

from functools import partial
from pathlib import Path

import pytest

from vlm.cli import demo, main
from vlm.cli.demo import captions as demo_captions
from vlm.files import read_json
from vlm.metrics import score_captions
from vlm.training.eyes import train_eyes
from vlm.training.module import VisionLanguageModule

KEYS = [
    "CIDEr-D",
    "reference CIDEr-D",
    "shuffled CIDEr-D",
    "main object right, seen",
    "main object right, unseen",
]


def check_files(output: Path) -> dict:
    for name in ("checkpoint.ckpt", "results.json", "metrics.json", "index.html"):
        assert (output / name).is_file()
    references: dict[int, list[str]] = {}
    for row in read_json(output / "captions_test.json")["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    captions = {row["image_id"]: row["caption"] for row in read_json(output / "results.json")}
    scores = score_captions(captions, references).corpus
    assert read_json(output / "metrics.json")["scores"] == scores
    summary = read_json(output / "demo.json")
    assert list(summary["captioning"]) == KEYS
    assert summary["captioning"]["CIDEr-D"] == scores["CIDEr-D"]
    assert summary["seconds"] > 0
    assert list((output / "world" / "images").glob("test_*"))
    return summary["captioning"]


def test_a_small_demo_writes_all_it_promises(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "SPLITS", {"train": 40, "val": 9, "test": 10, "test_seen": 10})
    monkeypatch.setattr(demo, "train_eyes", partial(train_eyes, portraits=96, epochs=1))
    monkeypatch.setattr(demo_captions, "SHOWN", 3)
    asked, attend = [], VisionLanguageModule.attend

    def watched(*arguments, reduction: str):
        asked.append(reduction)
        return attend(*arguments, reduction=reduction)

    monkeypatch.setattr(VisionLanguageModule, "attend", watched)
    output = tmp_path / "out"
    assert main(["demo", "--output", str(output), "--seed", "3"]) == 0
    check_files(output)
    vqa = read_json(output / "demo.json")["vqa"]
    assert list(vqa) == ["accuracy", "shuffled accuracy", "question-only accuracy"]
    assert vqa["accuracy"] == read_json(output / "vqa" / "metrics.json")["scores"]["overall"]
    assert all(0 <= accuracy <= 100 for accuracy in vqa.values())
    page = (output / "index.html").read_text()
    assert page.count("<section>") == 3
    footer = page.split("<footer>")[1]
    assert "the reduction “mean”" in footer
    assert "evidence of where the decoder looked, not of why" in footer
    assert asked == ["mean"] * 3
    said = capsys.readouterr().out
    assert "vlm attend" in said
    assert "vlm answer" in said

    assert main(["demo", "--output", str(output)]) == 2, "a finished demo is not written over"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_reaches_its_figures(tmp_path: Path):
    assert main(["demo", "--output", str(tmp_path / "out")]) == 0
    scores = check_files(tmp_path / "out")
    assert scores["CIDEr-D"] >= scores["reference CIDEr-D"]
    assert scores["shuffled CIDEr-D"] <= 0.25 * scores["CIDEr-D"]
    assert scores["main object right, seen"] >= 0.85
    assert scores["main object right, unseen"] >= 0.75
