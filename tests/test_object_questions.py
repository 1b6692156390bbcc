"""The script that asks about objects: the lines it writes and what it refuses."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "object_questions.py"
main = runpy.run_path(str(SCRIPT))["main"]

NAMES = ["apple", "bus", "cat", "dog"]
SHOWN = {7: ["apple", "bus"], 5: ["cat", "cat", "bus"], 3: ["dog"]}


@pytest.fixture
def instances(tmp_path: Path) -> Path:
    file = tmp_path / "instances.json"
    rows = [
        {"image_id": image, "category_id": NAMES.index(name)}
        for image, names in SHOWN.items()
        for name in names
    ]
    tree = {
        "images": [{"id": image, "file_name": f"{image}.jpg"} for image in SHOWN],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
        "annotations": rows,
    }
    file.write_text(json.dumps(tree))
    return file


def test_lines_by_hand(instances: Path, tmp_path: Path):
    output = tmp_path / "new" / "pope.jsonl"
    given = [str(instances), "--strategy", "popular", "--each", "1", "--output", str(output)]
    assert main(given) == 0
    first = output.read_bytes()
    rows = [json.loads(line) for line in first.decode().splitlines()]
    assert [list(row) for row in rows] == [["question_id", "image", "text", "label"]] * 6
    assert [row["question_id"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["image"] for row in rows] == [f"{image}.jpg" for image in (7, 7, 5, 5, 3, 3)]
    assert [row["label"] for row in rows] == ["yes", "no"] * 3
    # The bus stands in two images, every other object in one; the first by name of equals.
    absent = [row["text"] for row in rows if row["label"] == "no"]
    assert absent == [f"Is there {name} in the image?" for name in ("a cat", "an apple", "a bus")]
    assert main(given) == 0
    assert output.read_bytes() == first


def test_a_process_says_one_sentence_and_ends_with_2(tmp_path: Path):
    given = [str(tmp_path / "none.json"), "--output", str(tmp_path / "pope.jsonl")]
    done = subprocess.run([sys.executable, SCRIPT, *given], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"object_questions: error: file {tmp_path / 'none.json'} does not exist; check the path\n"
    )
    assert not (tmp_path / "pope.jsonl").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--each", "0"], "each of at least 1"),
        (["--each", "3"], "no image has 3 objects and lacks as many of the others"),
        (["--seed", "-1"], "a seed of at least 0, got 'random', 3 and -1"),
    ],
)
def test_bad_options_are_told(instances: Path, capsys, options: list[str], told: str):
    assert main([str(instances), "--output", "unused.jsonl", *options]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith("object_questions: error: ")
    assert error.count("\n") == 1
    assert not Path("unused.jsonl").exists()


def test_a_folder_that_is_a_file_is_told(instances: Path, capsys):
    assert main([str(instances), "--each", "1", "--output", str(instances / "pope.jsonl")]) == 2
    error = capsys.readouterr().err
    assert f"pope.jsonl' cannot be written, as '{instances}' is a file and no folder;" in error


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--strategy", "rare"], "argument --strategy: invalid choice: 'rare'"),
        (["--each", "many"], "argument --each: invalid int value: 'many'"),
        (["--sed", "3"], "unrecognized arguments: --sed 3"),
        ([], "the following arguments are required: instances, --output"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(capsys, given: list[str], told: str):
    assert main([*(["a.json", "--output", "b"] if given else []), *given]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"object_questions: error: {told}")
    assert error.count("\n") == 1
    assert "; see " in error


def test_nameless_categories_are_told(instances: Path, tmp_path: Path, capsys):
    tree = json.loads(instances.read_text())
    tree["categories"][1]["name"] = None
    instances.write_text(json.dumps(tree))
    assert main([str(instances), "--output", str(tmp_path / "pope.jsonl")]) == 2
    told = "expected text as 'name' of entry 2 of 'categories' (id 1), got null; correct it"
    assert told in capsys.readouterr().err


def test_images_without_a_file_name_are_asked_about_by_id(instances: Path, tmp_path: Path):
    tree = json.loads(instances.read_text())
    tree["images"] = [{"id": 7.0, "file_name": None}, {"id": 5}, {"id": 3, "file_name": "3.jpg"}]
    instances.write_text(json.dumps(tree))
    assert main([str(instances), "--each", "1", "--output", str(tmp_path / "pope.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "pope.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows[::2]] == [7, 5, "3.jpg"]
    assert "7.0" not in (tmp_path / "pope.jsonl").read_text()


def test_captions_are_no_instances(tmp_path: Path, capsys):
    (tmp_path / "captions.json").write_text('{"images": [], "annotations": []}')
    assert main([str(tmp_path / "captions.json"), "--output", str(tmp_path / "out")]) == 2
    assert "has no 'categories'; expected 'images' with id" in capsys.readouterr().err
