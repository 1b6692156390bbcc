"""The script that makes submission files: each command, its check, and what it refuses."""

import json
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "make_submission.py"
script = SimpleNamespace(**runpy.run_path(str(SCRIPT)))

CONTENT = {
    "results_val.json": [{"image_id": 7, "caption": "a dog"}, {"image_id": 5, "caption": "b"}],
    "results_test.json": [{"image_id": "0003", "caption": "two\rcats"}],
    "info_val.json": {"images": [{"id": 5, "file_name": "a"}, {"id": 7, "file_name": "b"}]},
    "info_test.json": {"images": [{"id": 3, "file_name": "c"}], "categories": []},
    "answers.json": [{"question_id": 71, "answer": "2"}],
    "questions.json": {
        "data_subtype": "test-dev2015",
        "questions": [{"question_id": 71, "image_id": 7, "question": "How many?"}],
    },
    "old.json": {
        "data_subtype": "val2014",
        "questions": [{"question_id": 71, "image_id": 7, "question": "How many?"}],
    },
}
CAPTIONS = "captions results_val.json results_test.json --ids info_val.json info_test.json"
ANSWERS = "answers answers.json --questions questions.json"
WRITE = " --algorithm tiny --output out"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in CONTENT.items():
        (tmp_path / name).write_text(json.dumps(content))
    return tmp_path


def run(line: str) -> int:
    return script.main(line.split())


def test_captions(capsys):
    assert run(CAPTIONS + WRITE) == 0
    names = [f"captions_{split}_tiny_results.json" for split in ("val2014", "test2014")]
    assert capsys.readouterr().out.split() == [f"out/{n}" for n in [*names, "results.zip"]]
    with zipfile.ZipFile("out/results.zip") as archive:
        val, test = (json.loads(archive.read(name)) for name in names)
    assert val == CONTENT["results_val.json"][::-1]
    assert test == [{"image_id": 3, "caption": "two cats"}]


def test_answers(capsys):
    assert run(ANSWERS + WRITE) == 0
    file = "out/vqa_OpenEnded_mscoco_test-dev2015_tiny_results.json"
    assert capsys.readouterr().out.split() == [file]
    assert json.loads(Path(file).read_text()) == CONTENT["answers.json"]


def test_the_split_can_be_named(capsys):
    assert run(ANSWERS.replace("questions.json", "old.json") + WRITE) == 2
    assert capsys.readouterr().err == (
        "make_submission: error: old.json: expected questions of test-dev2015 or test2015, got "
        "val2014; give others, or name their --split\n"
    )
    assert run(ANSWERS.replace("questions.json", "old.json --split test2015") + WRITE) == 0
    assert Path("out/vqa_OpenEnded_mscoco_test2015_tiny_results.json").is_file()


def test_nocaps():
    assert run("nocaps results_val.json --ids info_val.json --split val" + WRITE) == 0
    assert run("check out/nocaps_val_tiny_results.json --ids info_val.json") == 0


def test_what_is_made_passes_the_check(capsys):
    assert run(CAPTIONS + WRITE) == run(ANSWERS + WRITE) == 0
    capsys.readouterr()
    for file, ids in {
        "captions_val2014_tiny_results.json": "--ids info_val.json",
        "captions_test2014_tiny_results.json": "--ids info_test.json",
        "vqa_OpenEnded_mscoco_test-dev2015_tiny_results.json": "--questions questions.json",
    }.items():
        assert run(f"check out/{file} {ids}") == 0
        assert capsys.readouterr().out == f"out/{file} can be handed in\n"


def test_a_check_tells_every_fault_in_a_line(capsys):
    assert run("check results_val.json --ids info_test.json") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("make_submission: error: results_val.json") for line in lines)
    assert "expected the name captions_val2014_NAME_results.json" in lines[0]
    assert lines[1].endswith("lacks image_id 3; add them")
    assert lines[2].endswith("has image_id 7, 5, which are not expected; remove them")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (CAPTIONS.replace("results_test", "none") + WRITE, "none.json does not exist"),
        (CAPTIONS.replace("info_test", "info_val") + WRITE, "results_test.json lacks image_id 5"),
        (
            CAPTIONS.replace("info_test", "questions") + WRITE,
            "questions.json is a VQA questions file",
        ),
        (CAPTIONS + WRITE.replace("tiny", "a/b"), "expected an algorithm's name"),
        (
            CAPTIONS + WRITE.replace(" out", " old.json"),
            "as 'old.json' is a file and no folder; give",
        ),
        (ANSWERS.replace("questions.json", "info_val.json") + WRITE, "got no data_subtype"),
        ("check none.json --ids info_val.json", "none.json does not exist"),
        (
            "check answers.json --questions info_val.json",
            "info_val.json has no 'questions'; expected",
        ),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_nothing_written(line, reason, folder, capsys):
    assert run(line) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("make_submission: error: ")
    assert printed.err.count("\n") == 1
    assert reason in printed.err
    assert {path.name for path in folder.iterdir()} == set(CONTENT)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "the following arguments are required: command; see "),
        ("draw", "argument command: invalid choice: 'draw'"),
        ("check a.json", "one of the arguments --ids --questions is required; see "),
        (CAPTIONS.replace(" info_test.json", "") + WRITE, "argument --ids: expected 2 arguments"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(line, reason, capsys):
    assert run(line) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"make_submission: error: {reason}")
    assert printed.count("\n") == 1


def test_runs_as_a_program():
    command = [sys.executable, str(SCRIPT), "check", "answers.json", "--ids", "old.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
