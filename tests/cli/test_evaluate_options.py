"""``vlm evaluate``: each option with its own kind of evaluation, and what else is refused."""

import json
from pathlib import Path

import pytest

from vlm.cli import main

REFERENCES = ["--references", "references.json"]
ANSWERS = ["--questions", "questions.json", "--annotations", "annotations.json"]
OBJECTS = ["--pope", "pope.jsonl"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files of all three kinds, two images or questions each."""
    images = [{"id": key} for key in (7, 11)]
    captions = [{"image_id": key, "caption": "a dog runs"} for key in (7, 11)]
    questions = [{"question_id": key, "image_id": 7, "question": "what?"} for key in (7, 11)]
    people = [{"question_id": key, "answers": [{"answer": "dog"}] * 3} for key in (7, 11)]
    people[0] |= {"answer_type": "other\nthings", "question_type": "what"}
    files = {
        "captions.json": captions,
        "references.json": {"images": images, "annotations": captions},
        "empty.json": {"images": images, "annotations": []},
        "answers.json": [{"question_id": key, "answer": "dog"} for key in (7, 11)],
        "questions.json": {"questions": questions},
        "annotations.json": {"annotations": people},
    }
    for name, tree in files.items():
        (tmp_path / name).write_text(json.dumps(tree))
    rows = [{"question_id": 7, "label": "yes"}, {"question_id": 11, "label": "no"}]
    (tmp_path / "pope.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a refusal that leaves nothing written."""
    before = {file: file.read_bytes() for file in Path().iterdir()}
    assert main(["evaluate", *arguments]) == 2
    assert {file: file.read_bytes() for file in Path().iterdir()} == before
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("vlm: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


FOREIGN = [
    ("--variant", REFERENCES, "--variant belongs to answers (--questions and --annotations) and"),
    ("--variant", OBJECTS, "--variant belongs to answers (--questions and --annotations) and"),
    *(
        (option, kind, f"{option} belongs to captions (--references) and not to {name}")
        for option in ("--metrics", "--frequencies", "--training", "--instances", "--synonyms")
        for kind, name in ((ANSWERS, "answers"), (OBJECTS, "object questions"))
    ),
]


@pytest.mark.parametrize(("option", "kind", "sentence"), FOREIGN)
def test_options_of_another_kind_are_refused(folder, capsys, option, kind, sentence):
    assert sentence in refused(capsys, "captions.json", *kind, option, "mmf")


@pytest.mark.parametrize(
    ("kinds", "sentence"),
    [
        ([*REFERENCES, *ANSWERS], "--references for captions, --questions and --annotations for"),
        ([*REFERENCES, "--questions", "q"], "--references for captions, --questions for answers;"),
        ([*REFERENCES, *OBJECTS], "--references for captions, --pope for object questions; choose"),
        ([*OBJECTS, *ANSWERS], "got several, --questions and --annotations for answers, --pope"),
    ],
)
def test_one_kind_is_chosen(folder, capsys, kinds, sentence):
    told = refused(capsys, "captions.json", *kinds, "--metrics", "BLEU")
    assert "expected one kind of references, got several, " in told
    assert sentence in told
    assert told.endswith("; choose one\n")


def test_a_kind_needs_all_its_files(folder, capsys):
    assert "got none; give --references for captions, " in refused(capsys, "captions.json")
    told = refused(capsys, "answers.json", *ANSWERS[:2])
    assert "expected --questions and --annotations, got no --annotations; give both" in told
    assert "got no --questions; give both" in refused(capsys, "answers.json", *ANSWERS[2:])


@pytest.mark.parametrize("option", ["--training", "--frequencies"])
def test_files_without_captions_are_told(folder, capsys, option):
    told = refused(capsys, "captions.json", *REFERENCES, option, "empty.json")
    assert f"{option} expected captions that people wrote, got none in empty.json" in told


def test_frequencies_need_a_score_that_takes_them(folder, capsys):
    chosen = [*REFERENCES, "--metrics", "BLEU,ROUGE-L", "--frequencies", "references.json"]
    assert "--frequencies is for CIDEr-D and CIDEr, got --metrics BLEU,ROUGE-L" in refused(
        capsys, "captions.json", *chosen
    )


@pytest.mark.parametrize("option", ["--output", "--per-image"])
@pytest.mark.parametrize("target", ["captions.json", "./references.json"])
def test_what_is_read_is_not_replaced(folder, capsys, option, target):
    told = refused(capsys, "captions.json", *REFERENCES, option, target)
    assert f"{option} names {target}, which is read; name another" in told


def test_outputs_are_looked_at_before_the_work(folder, capsys):
    told = refused(capsys, "nosuch.json", *REFERENCES, "--per-image", "..")
    assert "'..' is there and no file; name a file" in told
    told = refused(capsys, "captions.json", *REFERENCES, "--output", "m", "--per-image", "./m")
    assert "--output and --per-image both name ./m; name two files" in told


def test_questions_without_a_type_have_a_row(folder, capsys):
    assert main(["evaluate", "answers.json", *ANSWERS, "--output", "m.json"]) == 0
    rows = [line.rsplit(maxsplit=1)[0] for line in capsys.readouterr().out.splitlines()[:5]]
    assert rows == ["overall", "(none)", "other things", "  (none)", "  what"]
    metrics = json.loads(Path("m.json").read_text())
    assert list(metrics["scores"]) == ["overall", "", "other\nthings"]
    assert list(metrics["question types"]) == ["", "what"]


def test_answers_to_object_questions(folder, capsys):
    assert main(["evaluate", "answers.json", *OBJECTS, "--output", "m", "--per-image", "p"]) == 0
    assert "neither yes nor no: 2 (read as yes, as POPE does)\n" in capsys.readouterr().out
    metrics = json.loads(Path("m").read_text())
    assert metrics["neither yes nor no"] == 2
    assert metrics["scores"]["yes"] == 1
    row = json.loads(Path("p").read_text().splitlines()[0])
    assert row == {"question_id": 7, "label": "yes", "answer": "dog", "read as": "yes"}
