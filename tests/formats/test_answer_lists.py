"""Lists of answers are read in the order of their indices; what is none is told."""

import gzip
import json
import re
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.answer_lists import read_answer_list

FORM = "expected JSON of answers (a list, or each with its index) or a text file of one a line"
EXPECTED = ["yes", "", "t shirt", "2"]
INDICES = {"2": 3, "": 1, "yes": 0, "t shirt": 2}
INVERSE = {"0": "yes", "1": "", "2": "t shirt", "3": "2"}


def written(folder: Path, content: object, name: str = "answers.json") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


@pytest.mark.parametrize("content", [INDICES, [INDICES, INVERSE], EXPECTED])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_answers_come_in_the_order_of_their_indices(tmp_path, content, name):
    assert read_answer_list(written(tmp_path, content, name)) == EXPECTED


@pytest.mark.parametrize("name", ["a.txt", "a", "a.txt.gz"])
def test_a_text_has_one_answer_a_line(tmp_path, name):
    text = "\ufeffyes\r\nt shirt\n\n caf\u00e9\u2028noir \n2"
    assert read_answer_list(written(tmp_path, text, name)) == [
        "yes",
        "t shirt",
        "caf\u00e9\u2028noir",
        "2",
    ]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.json", ["a", "b", "a"], "{} lists answer ids more than once: a; keep one"),
        ("a.txt", "a\nb\na\n", "{} lists answer ids more than once: a; keep one"),
        ("a.json", [], "{} lists no answer; give a file with answers"),
        ("a.json", {}, "{} lists no answer; give a file with answers"),
        ("a.json", [{}, {}], "{} lists no answer; give a file with answers"),
        ("a.txt", " \n", "{} lists no answer; give a file with answers"),
        ("a.json", ["a", 5], "{}: expected text as answer 2, got 5; " + FORM),
        ("a.json", ["a", None], "{}: expected text as answer 2, got null; " + FORM),
        ("a.json", [INDICES], "{}: expected text as answer 1, got an object; " + FORM),
        ("a.json", [INDICES, ["a"]], "{}: expected text as answer 1, got an object; " + FORM),
        ("a.json", "3", "{} is a single value, 3; " + FORM),
        ("a.json", {"a": 0, "b": "1"}, '{} has "1" as the index of "b"; ' + FORM),
        ("a.json", {"a": True}, '{} has true as the index of "a"; ' + FORM),
        ("a.json", INVERSE, '{} has "yes" as the index of "0"; ' + FORM),
        (
            "a.json",
            {"a": 0, "b": 2, "c": 4},
            "{}: expected the indices 0 to 2 of 3 answers, but none has 1; "
            "number them without gaps",
        ),
        (
            "a.json",
            {"a": 1, "b": 1},
            "{}: expected the indices 0 to 1 of 2 answers, but none has 0; "
            "number them without gaps",
        ),
        (
            "a.json",
            {"a": 1, "b": 2},
            "{}: expected the indices 0 to 1 of 2 answers, but none has 0; "
            "number them without gaps",
        ),
        (
            "a.json",
            [INDICES, INVERSE | {"0": "no"}],
            "{}: its second object is not the first one inverted, answers by index; fetch it again",
        ),
        ("a.txt", '["a", "b"]', "{} holds JSON, not one answer a line; end its name in .json"),
        ("a.json", " ", "file {} is empty; fetch or write it again"),
        ("a.json", "yes\nno\n", "file {} is not JSON, it starts with 'yes'; give a JSON file"),
    ],
)
def test_what_is_no_list_is_told_in_one_sentence(tmp_path, name, content, reason):
    file = written(tmp_path, content, name)
    with pytest.raises(InputError, match=f"^{re.escape(reason.replace('{}', str(file), 1))}$"):
        read_answer_list(file)


def test_an_absent_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"answers\.txt does not exist; check the path$"):
        read_answer_list(tmp_path / "answers.txt")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("openvqa_answer_dict_3129.json", ["net", "pitcher", "orange", "yes", "white"]),
        ("lxmert_trainval_ans2label.json", ["", "woods", "trash can"]),
    ],
)
def test_published_lists_are_read(shared, name, start):
    file = shared / "data" / "vqa_answers" / name
    answers = read_answer_list(file)
    tree = json.loads(file.read_text())
    indices = tree if isinstance(tree, dict) else tree[0]
    assert len(answers) == len(indices) == 3129
    assert all(answers[index] == answer for answer, index in indices.items())
    assert answers[: len(start)] == start
    assert "" in answers
