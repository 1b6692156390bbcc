"""Questions of several files, and of files beside captions: one entry an image, whatever its id."""

import json
from pathlib import Path

import pytest

from vlm.data.asked import VQAData
from vlm.data.joint import JointData
from vlm.errors import InputError
from vlm.text.tokenizer import WordVocabulary


def lines(path: Path, rows: list[dict]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path.name


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        rows = [
            {"question_id": f"{name} {place}", "image": f"{place}.jpg", "question": "is it?"}
            | {"answers": ["Two", "Two", "no"] if place else ["Blue."]}
            for place in range(2)
        ]
        lines(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


def test_files_are_merged_by_image(root: Path):
    data = VQAData({"train": ["one.jsonl", "two.jsonl"]}, root=str(root))
    samples = data.samples("train")
    assert [sample.path.name for sample in samples] == ["0.jpg", "1.jpg"]
    asked = [[question.question_id for question in sample.questions] for sample in samples]
    assert asked == [["one 0", "two 0"], ["one 1", "two 1"]]


def test_the_same_file_twice_is_refused(root: Path):
    data = VQAData({"train": ["one.jsonl", "one.jsonl"]}, root=str(root))
    with pytest.raises(InputError, match="question ids more than once: one 0, one 1"):
        data.samples("train")


def test_one_answer_stands_for_ten_in_the_form_that_counts(root: Path):
    data = VQAData({"train": "one.jsonl"}, root=str(root))
    first, second = (sample.questions[0].answers for sample in data.samples("train"))
    assert first == ("blue",) * 10
    assert second == ("Two", "Two", "no"), "what people said stays as they said it"


@pytest.mark.parametrize("kind", [int, str, "file"])
def test_captions_and_questions_meet_at_the_image_whatever_its_id(root: Path, kind):
    captions = {
        "images": [{"id": 0, "file_name": "0.jpg"}, {"id": 2, "file_name": "2.jpg"}],
        "annotations": [{"id": n, "image_id": n, "caption": f"the caption of {n}"} for n in (0, 2)],
    }
    (root / "captions.json").write_text(json.dumps(captions))
    questions = "one.jsonl"
    if kind != "file":
        asked = {
            "images": [
                {"id": kind(0), "file_name": "0.jpg"},
                {"id": kind(1), "file_name": "1.jpg"},
            ],
            "questions": [
                {"question_id": n, "image_id": kind(n), "question": "is it?"} for n in (0, 1)
            ],
        }
        answers = [
            {"question_id": n, "image_id": kind(n), "multiple_choice_answer": "no"}
            | {"answers": [{"answer": "no"}] * 10, "answer_type": "yes/no", "question_type": "is"}
            for n in (0, 1)
        ]
        questions = "questions.json"
        (root / questions).write_text(json.dumps(asked))
        (root / "annotations.json").write_text(json.dumps({"annotations": answers}))
    data = JointData(
        {"train": "captions.json"},
        {"train": questions},
        None if kind == "file" else {"train": "annotations.json"},
        root=str(root),
    )
    found = {s.path.name: (len(s.captions), len(s.questions)) for s in data.samples("train")}
    assert found == {"0.jpg": (1, 1), "2.jpg": (1, 0), "1.jpg": (0, 1)}


def test_joint_data_may_train_on_questions_alone(root: Path):
    data = JointData(
        None,
        {"train": "one.jsonl"},
        root=str(root),
        vocabulary=WordVocabulary(min_count=1),
    )
    tokenizer = data.tokenizer()
    assert tokenizer.decode(tokenizer.encode(["is it"], max_length=9)[0]) == "is it"
