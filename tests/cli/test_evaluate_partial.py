"""``vlm evaluate``: images with one side only, domains of one image, and CHAIR by image."""

import json
from pathlib import Path

import pytest

from vlm.cli import main
from vlm.metrics import score_captions
from vlm.metrics.hallucination import Synonyms, chair

CAPTIONS = {7: "a dog and a cat", 11: "two kites", 13: "green grass", 17: "a dog"}
REFERENCES = {7: ["a dog runs"], 11: ["kites in the sky", "kites"], 13: ["grass"], 17: ["a cat"]}
OBJECTS = {7: ["dog"], 11: [], 13: []}


def references(captions: dict, domains: dict | None = None) -> str:
    tree = {
        "images": [{"id": key, "domain": (domains or {}).get(key, "")} for key in captions],
        "annotations": [
            {"image_id": key, "caption": text} for key, texts in captions.items() for text in texts
        ],
    }
    return json.dumps(tree)


def instances(objects: dict) -> str:
    tree = {
        "images": [{"id": key} for key in objects],
        "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "cat"}],
        "annotations": [
            {"image_id": key, "category_id": {"dog": 3, "cat": 5}[name]}
            for key, names in objects.items()
            for name in names
        ],
    }
    return json.dumps(tree)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Captions and references of four images, objects of three."""
    rows = [{"image_id": key, "caption": text} for key, text in CAPTIONS.items()]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    (tmp_path / "references.json").write_text(references(REFERENCES))
    (tmp_path / "instances.json").write_text(instances(OBJECTS))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def evaluate(*arguments: str) -> int:
    return main(["evaluate", "results.json", "--references", "references.json", *arguments])


def metrics() -> dict:
    return json.loads(Path("m.json").read_text())


def test_chair_of_the_images_that_have_objects(folder, capsys):
    given = ["--instances", "instances.json"]
    assert evaluate(*given) == 2
    told = capsys.readouterr().err
    assert "instances.json lacks image_id 17; give the instances of all images, or score" in told
    assert evaluate(*given, "--partial", "--output", "m.json", "--per-image", "p.jsonl") == 0
    told = capsys.readouterr().out
    assert "CHAIR covers 3 of 4 images, those that the instances list\n" in told
    assert "images 3, signature chair|" in told
    covered = {key: CAPTIONS[key] for key in OBJECTS}
    wanted = chair(covered, REFERENCES, OBJECTS, synonyms=Synonyms.own())
    record = metrics()["CHAIR"]
    assert (record["CHAIRs"], record["CHAIRi"]) == (wanted.chair_s, wanted.chair_i)
    assert record["images"] == 3
    assert "|n:3|" in record["signature"]
    assert metrics()["images"] == 4
    rows = [json.loads(line) for line in Path("p.jsonl").read_text().splitlines()]
    named = [[row.get(n) for n in ("mentioned objects", "hallucinated objects")] for row in rows]
    assert named == [[["dog", "cat"], ["cat"]], [["kite"], []], [[], []], [None, None]]
    assert [row.get("CHAIRi", "no entry") for row in rows] == [0.5, 0, None, "no entry"]


def test_instances_of_other_images_cover_none(folder, capsys):
    (folder / "instances.json").write_text(instances({99: ["dog"]}))
    assert evaluate("--instances", "instances.json", "--partial") == 2
    told = capsys.readouterr().err
    assert "lacks image_id 7, 11, 13, 17; give the instances of all images\n" in told


def test_chair_of_all_images_says_no_part(folder, capsys):
    (folder / "instances.json").write_text(instances(OBJECTS | {17: ["cat"]}))
    assert evaluate("--instances", "instances.json") == 0
    told = capsys.readouterr().out
    assert "images 4, signature chair|" in told
    assert "CHAIR covers" not in told


def test_images_without_references_are_left_out_and_counted(folder, capsys):
    (folder / "references.json").write_text(references(REFERENCES | {11: []}))
    assert evaluate() == 2
    told = capsys.readouterr().err
    assert "references.json has no caption of image_id 11; give each one or more, or" in told
    assert evaluate("--partial", "--output", "m.json") == 0
    told = capsys.readouterr().out
    assert "1 left out, without references: 11\n3 of 4 images\n" in told
    part = {key: REFERENCES[key] for key in (7, 13, 17)}
    wanted = score_captions({key: CAPTIONS[key] for key in part}, part)
    assert metrics()["scores"] == wanted.corpus
    assert metrics()["signature"] == wanted.signature
    assert metrics()["images without references"] == 1
    (folder / "references.json").write_text(references({key: [] for key in CAPTIONS}))
    assert evaluate("--partial") == 2
    assert "has no caption of the images to score" in capsys.readouterr().err


def test_a_domain_of_one_image_is_explained(folder, capsys):
    domains = {7: "in-domain", 11: "near-domain", 13: "near-domain", 17: "near-domain"}
    (folder / "references.json").write_text(references(REFERENCES, domains))
    assert evaluate("--output", "m.json") == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert "in domain in-domain, which has one image, no n-gram is rarer" in warning
    assert "CIDEr-D is 0 by definition; --frequencies CAPTIONS.json takes" in warning
    assert metrics()["domains"]["in-domain"]["scores"]["CIDEr-D"] == 0
    assert evaluate("--metrics", "CIDEr,CIDEr-D") == 0
    assert "CIDEr-D and CIDEr are 0 by definition" in capsys.readouterr().err
    for quiet in (["--metrics", "BLEU"], ["--frequencies", "references.json"]):
        assert evaluate(*quiet) == 0
        assert not capsys.readouterr().err


def test_counts_are_shown_whole(folder, capsys):
    texts = [f"{key}w{n}" for n in range(4) for key in range(3000)]
    rows = [{"image_id": n, "caption": " ".join(texts[n::4])} for n in range(4)]
    (folder / "results.json").write_text(json.dumps(rows))
    (folder / "references.json").write_text(references({key: ["a dog"] for key in range(4)}))
    assert evaluate("--metrics", "ROUGE-L") == 0
    assert "vocabulary 12000," in capsys.readouterr().out


def test_results_without_references_are_left_out_and_counted(folder, capsys):
    rows = json.loads((folder / "results.json").read_text())
    extra = [{"image_id": 99, "caption": "a cow"}]
    (folder / "results.json").write_text(json.dumps(rows + extra))
    assert evaluate("--partial") == 0
    assert "results.json: 1 left out, not in the references: 99\n" in capsys.readouterr().err
    (folder / "results.json").write_text(json.dumps(rows))
    assert evaluate("--partial") == 0
    assert "left out" not in capsys.readouterr().err
