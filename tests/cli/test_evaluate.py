"""``vlm evaluate``: what it scores, what it says, what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlm.cli import main
from vlm.metrics import score_captions

NASTY = Path(__file__).resolve().parents[1] / "goldens" / "nasty"
VQA = Path(__file__).resolve().parents[1] / "goldens" / "vqa"
QUESTIONS = VQA / "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = VQA / "v2_mscoco_val2014_annotations.json"
ANSWERS = VQA / "vqa_OpenEnded_mscoco_val2014_alg_results.json"

CAPTIONS = {7: "a dog runs", 11: "two cats", 13: "a red bus"}
REFERENCES = {
    7: ["a dog runs on grass", "the dog"],
    11: ["two cats on a mat", "cats"],
    13: ["a red bus", "the bus in town"],
}


def coco(references: dict, **image: str) -> dict:
    return {
        "images": [{"id": key, "file_name": f"{key}.jpg", **image} for key in references],
        "annotations": [
            {"image_id": key, "caption": text} for key in references for text in references[key]
        ],
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results and references of three images."""
    rows = [{"image_id": key, "caption": text, "score": 1} for key, text in CAPTIONS.items()]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    (tmp_path / "references.json").write_text(json.dumps(coco(REFERENCES)))
    return tmp_path


def evaluate(folder: Path, *arguments: str) -> int:
    names = ["results.json", "--references", "references.json", *arguments]
    return main(
        ["evaluate", *(str(folder / n) if n.endswith(("json", "jsonl")) else n for n in names)]
    )


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The one sentence of a refusal that leaves nothing written."""
    before = sorted(folder.iterdir())
    assert evaluate(folder, *arguments, "--output", "m.json") == 2
    assert sorted(folder.iterdir()) == before
    told = capsys.readouterr().err.strip()
    assert told.startswith("vlm: error: ")
    assert "\n" not in told
    return told


def test_scores_are_those_of_score_captions(folder, capsys):
    assert evaluate(folder, "--output", "m.json", "--per-image", "p.jsonl") == 0
    scores = score_captions(CAPTIONS, REFERENCES)
    metrics = json.loads((folder / "m.json").read_text())
    assert metrics["scores"] == scores.corpus
    assert metrics["signature"] == scores.signature
    assert metrics["images"] == 3
    assert set(metrics["not computed"]) == {"METEOR", "SPICE"}
    rows = [json.loads(line) for line in (folder / "p.jsonl").read_text().splitlines()]
    assert rows == [{"image_id": key, **row} for key, row in scores.per_image.items()]
    shown = capsys.readouterr().out
    assert f"{100 * scores.corpus['CIDEr-D']:.1f}" in shown
    assert f"signature: {scores.signature}" in shown
    assert "METEOR not computed: needs Java 8+, pip install vlm[java]" in shown
    assert ", then --metrics METEOR\n" in shown


def test_nasty_captions_through_the_command(tmp_path):
    output = tmp_path / "m.json"
    files = [str(NASTY / "cands.json"), "--references", str(NASTY / "refs.json")]
    assert main(["evaluate", *files, "--output", str(output)]) == 0
    expected = json.loads((NASTY / "expected.json").read_text())["corpus"]
    scores = json.loads(output.read_text())["scores"]
    assert scores["BLEU-4"] == expected["Bleu_4"]
    assert scores["ROUGE-L"] == expected["ROUGE_L"]
    assert scores["CIDEr-D"] == pytest.approx(expected["CIDEr"], rel=0, abs=1e-12)


def test_digit_strings_are_ids(folder):
    rows = [{"image_id": f"{key:012}", "caption": text} for key, text in CAPTIONS.items()]
    (folder / "results.json").write_text(json.dumps(rows))
    assert evaluate(folder, "--output", "m.json") == 0
    assert json.loads((folder / "m.json").read_text())["images"] == 3


def test_odd_captions_are_scored(folder):
    odd = ["x" * 100_000, "a\u2028dog \U0001f600 \u05db\u05dc\u05d1\u200b", ""]
    rows = [{"image_id": key, "caption": text} for key, text in zip(CAPTIONS, odd, strict=True)]
    (folder / "results.json").write_text(json.dumps(rows))
    assert evaluate(folder) == 0


def test_chosen_metrics_alone(folder):
    assert evaluate(folder, "--metrics", "CIDEr,ROUGE-L", "--output", "m.json") == 0
    metrics = json.loads((folder / "m.json").read_text())
    assert list(metrics["scores"]) == ["ROUGE-L", "CIDEr"]
    assert metrics["signature"].startswith("rouge-l+cider|")


def test_unknown_metric(folder, capsys):
    told = refused(capsys, folder, "--metrics", "BLEU,BLEURT")
    assert "--metrics names BLEURT, which is not here; choose of BLEU, BLEU-1, " in told


def test_missing_foreign_and_doubled_ids_are_named(folder, capsys):
    rows = [{"image_id": key, "caption": "a"} for key in (7, 11)]
    (folder / "results.json").write_text(json.dumps(rows))
    assert "lacks image_id 13; add them, or score a part" in refused(capsys, folder)
    rows += [{"image_id": key, "caption": "a"} for key in (13, 17)]
    (folder / "results.json").write_text(json.dumps(rows))
    assert "has image_id 17, which the references do not list; remove them" in refused(
        capsys, folder
    )
    rows[3] = {"image_id": 13, "caption": "b"}
    (folder / "results.json").write_text(json.dumps(rows))
    assert "more than once: 13" in refused(capsys, folder)
    assert "more than once: 13" in refused(capsys, folder, "--partial")


@pytest.mark.parametrize("text", ['[{"image_id": 7, "capt', "", "[]", "{}"])
def test_a_broken_result_file_is_told(folder, capsys, text):
    (folder / "results.json").write_text(text)
    assert "results.json" in refused(capsys, folder)


@pytest.mark.parametrize("caption", [None, 5])
def test_a_caption_that_is_no_text_is_told(folder, capsys, caption):
    (folder / "results.json").write_text(json.dumps([{"image_id": 7, "caption": caption}]))
    assert "7" in refused(capsys, folder)


def test_a_part_says_so(folder, capsys):
    rows = [{"image_id": key, "caption": CAPTIONS.get(key, "x")} for key in (7, 13, 17)]
    (folder / "results.json").write_text(json.dumps(rows))
    part = {key: REFERENCES[key] for key in (7, 13)}
    scores = score_captions({key: CAPTIONS[key] for key in part}, part)
    (folder / "split.json").write_text("[13, 7]")
    for how in (["--partial"], ["--split", "split.json"]):
        assert evaluate(folder, *how, "--output", "m.json") == 0
        assert "2 of 3 images" in capsys.readouterr().out
        metrics = json.loads((folder / "m.json").read_text())
        assert metrics["scores"] == scores.corpus
        assert metrics["signature"] == scores.signature


def test_a_split_of_lines(folder, capsys):
    (folder / "split.txt").write_text("7\n11\n")
    assert evaluate(folder, "--split", str(folder / "split.txt")) == 0
    assert "2 of 3 images" in capsys.readouterr().out
    (folder / "split.json").write_text("[7, 99]")
    assert "has image_id 99, which the references do not list" in refused(
        capsys, folder, "--split", "split.json"
    )


def test_one_image_is_explained(folder, capsys):
    (folder / "split.json").write_text("[7]")
    assert evaluate(folder, "--split", "split.json", "--output", "m.json") == 0
    assert "CIDEr-D is 0 by definition" in capsys.readouterr().err
    assert json.loads((folder / "m.json").read_text())["scores"]["CIDEr-D"] == 0
    stored = ["--frequencies", "references.json"]
    assert evaluate(folder, "--split", "split.json", *stored, "--output", "m.json") == 0
    assert not capsys.readouterr().err
    metrics = json.loads((folder / "m.json").read_text())
    assert metrics["scores"]["CIDEr-D"] > 0
    assert "df:corpus" not in metrics["signature"]


def test_domains_are_scored_apart(folder):
    tree = coco(REFERENCES, domain="near-domain")
    tree["images"][0]["domain"] = "in-domain"
    (folder / "references.json").write_text(json.dumps(tree))
    assert evaluate(folder, "--output", "m.json") == 0
    domains = json.loads((folder / "m.json").read_text())["domains"]
    assert list(domains) == ["in-domain", "near-domain"]
    part = {key: REFERENCES[key] for key in (11, 13)}
    near = score_captions({key: CAPTIONS[key] for key in part}, part)
    assert domains["near-domain"]["scores"] == near.corpus
    assert domains["near-domain"]["signature"] == near.signature


def test_health_and_diversity_stand_beside_the_scores(folder):
    (folder / "training.json").write_text(json.dumps(coco({1: ["a dog runs", "a cat"]})))
    assert evaluate(folder, "--training", "training.json", "--output", "m.json") == 0
    metrics = json.loads((folder / "m.json").read_text())
    assert metrics["diversity"]["novel"] == pytest.approx(2 / 3)
    assert metrics["health"]["unknown_words"] == pytest.approx(4 / 8)


@pytest.mark.parametrize(
    ("variant", "key"),
    [
        ("official-2021", "a013f00_2021"),
        ("official-2016", "458a8b2_2016"),
    ],
)
def test_answers_equal_the_official_programs(tmp_path, variant, key):
    output, lines = tmp_path / "m.json", tmp_path / "p.jsonl"
    files = ["--questions", str(QUESTIONS), "--annotations", str(ANNOTATIONS)]
    where = ["--output", str(output), "--per-image", str(lines)]
    assert main(["evaluate", str(ANSWERS), *files, "--variant", variant, *where]) == 0
    metrics = json.loads(output.read_text())
    wanted = json.loads((VQA / "expected.json").read_text())[f"official_{key}_n20"]["accuracy"]
    assert metrics["scores"]["overall"] == pytest.approx(wanted["overall"], abs=1e-12)
    for kind, accuracy in wanted["perAnswerType"].items():
        assert metrics["scores"][kind] == pytest.approx(accuracy, abs=1e-12)
    assert f"variant:{variant}" in metrics["signature"]
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(rows) == metrics["questions"] == 3261
    assert set(rows[0]) == {"question_id", "accuracy"}


def test_questions_without_annotations_are_named(tmp_path, capsys):
    tree = json.loads(ANNOTATIONS.read_text())
    gone = tree["annotations"].pop()["question_id"]
    (tmp_path / "a.json").write_text(json.dumps(tree))
    files = ["--questions", str(QUESTIONS), "--annotations", str(tmp_path / "a.json")]
    assert main(["evaluate", str(ANSWERS), *files]) == 2
    assert f"has no answers to question_id {gone} of" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--questions", "q.json"], ["--references", "r.json", "--questions", "q.json"]],
)
def test_one_kind_of_reference_is_needed(tmp_path, capsys, arguments):
    assert main(["evaluate", "results.json", *arguments]) == 2
    assert "vlm: error: expected " in capsys.readouterr().err


def test_the_command_loads_no_torch():
    code = (
        "import sys, vlm.cli.evaluate_captions, vlm.cli.evaluate_answers; "
        "print(sorted({'torch', 'lightning', 'PIL'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_that_can_be_computed_is_told(folder, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert evaluate(folder, "--metrics", "METEOR", "--output", "m.json") == 0
    assert "METEOR not computed: needs Java 8+" in capsys.readouterr().out
    assert json.loads((folder / "m.json").read_text())["scores"] == {}


def test_help_is_light():
    code = """
import sys, vlm.cli
try:
    vlm.cli.main(["evaluate", "--help"])
except SystemExit:
    print({"torch", "numpy"} & {*sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "every class of the instances" in " ".join(done.stdout.split())


def test_synonyms_need_instances(folder, capsys):
    assert "needs --instances FILE" in refused(capsys, folder, "--synonyms", "table.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '[{"image_id": ' + "1" * 5000 + "}]"])
def test_json_beyond_pythons_limits_is_told(folder, capsys, text):
    (folder / "results.json").write_text(text)
    assert "cannot be read as JSON" in refused(capsys, folder)


def test_odd_domains_and_ids_of_references(folder, capsys):
    tree = coco(REFERENCES)
    tree["images"][0]["domain"] = None
    (folder / "references.json").write_text(json.dumps(tree))
    assert evaluate(folder) == 0
    tree["images"][0]["id"] = None
    (folder / "references.json").write_text(json.dumps(tree))
    assert "'id' of entry 1 of 'images', got null" in refused(capsys, folder)


@pytest.mark.parametrize("target", [".", "", "/dev/null"])
def test_an_output_that_is_no_file_is_told(folder, capsys, target):
    assert evaluate(folder, "--per-image", "p.jsonl", "--output", target) == 2
    assert "is there and no file; name a file" in capsys.readouterr().err
    assert not (folder / "p.jsonl").exists()
    assert not Path("/dev/null").is_file()


def test_two_outputs_need_two_files(folder, capsys):
    assert evaluate(folder, "--per-image", "m.json", "--output", "m.json") == 2
    assert "name two files" in capsys.readouterr().err
