"""Each way a result file can be wrong is told in one sentence."""

import json
import re

import pytest
from test_results import metric, read, sample, written
from test_workbook import write_workbook

from vlm.errors import InputError
from vlm.formats.results import ANSWERS, CAPTIONS, read_results

GOOD = {"image_id": 7, "caption": "a dog"}
FORM = 'expected {"image_id": 1, "caption": "..."}, got '
NO_ID = ": expected as image_id a whole number or a text, got "
NO_TEXT = "is not text; write one each"
CUT = "it may have been cut off"
WRONG = {
    "null": ("a.json", [GOOD, {**GOOD, "caption": None}], f": the caption of image_id 7 {NO_TEXT}"),
    "number": ("a.json", [{**GOOD, "caption": 3}], f": the caption of image_id 7 {NO_TEXT}"),
    "half a letter": (
        "a.json",
        '[{"image_id": 7, "caption": "\\ud83d"}]',
        f": the caption of image_id 7 {NO_TEXT}",
    ),
    "many": (
        "a.jsonl",
        [{"image_id": n, "caption": []} for n in range(7)],
        f": the caption of image_id 0, 1, 2, 3, 4 and 2 more {NO_TEXT}",
    ),
    "null response": (
        "a.jsonl",
        [sample([None], **metric())],
        f": the caption of image_id 42 {NO_TEXT}",
    ),
    "doubled": ("a.json", [GOOD, GOOD], " lists image ids more than once: 7; keep one"),
    "empty": ("a.json", "", "file is empty; fetch or write it again"),
    "no result": ("a.json", [], " holds no result; give a file with results"),
    "no line": ("a.jsonl", "\n\n", " holds no result; give a file with results"),
    "no row": ("a.csv", "index,prediction\n", " holds no result; give a file with results"),
    "half": ("a.json", json.dumps([GOOD])[:20], "file is not whole JSON (line 1: "),
    "half a line": (
        "a.jsonl",
        json.dumps(GOOD) + '\n\n{"image',
        f", line 3 is not whole JSON (Unterminated string starting at); {CUT}",
    ),
    "half a field": (
        "a.csv",
        'index,prediction\n3,"a d',
        ", line 2 is not a whole table (a quoted field does not end, or goes on behind its "
        f"quote); {CUT}",
    ),
    "half a row": (
        "a.tsv",
        "index\tprediction\n3\ta\n4",
        ", line 3: expected 2 fields as in the first line, got another number; mend",
    ),
    "a tab within": ("a.tsv", "index\tprediction\n3\ta\tdog", ", line 2: expected 2 fields"),
    "annotations": (
        "a.json",
        {"annotations": [GOOD]},
        " is not a result file: expected a list of results, got a COCO captions file; "
        "give what a model wrote",
    ),
    "questions": (
        "a.json",
        {"questions": []},
        " is not a result file: expected a list of results, got a VQA questions file",
    ),
    "scores": (
        "a.json",
        {"results": {}},
        " is not a result file: expected a list of results, got an object with the fields results",
    ),
    "empty object": (
        "a.json",
        {},
        " is not a result file: expected a list of results, got an empty object; give what",
    ),
    "single value": (
        "a.json",
        3,
        " is not a result file: expected a list of results, got a single value, 3; give",
    ),
    "no text": (
        "a.json",
        [GOOD, {"image_id": 8}],
        f', record 2: {FORM}{{"image_id": 8}}; correct it',
    ),
    "no name": ("a.json", [{"caption": "a"}], f', record 1: {FORM}{{"caption": "a"}}; correct it'),
    "bare text": ("a.jsonl", [GOOD, "a dog"], f', record 2: {FORM}"a dog"; correct it'),
    "answers": ("a.json", [{"question_id": 7, "answer": "a"}], f", record 1: {FORM}"),
    "long": ("a.json", ["x" * 999], f', record 1: {FORM}"{"x" * 79}; correct it'),
    "boolean id": ("a.json", [{**GOOD, "image_id": True}], f", record 1{NO_ID}true; write one"),
    "null id": ("a.json", [GOOD, {**GOOD, "image_id": None}], f", record 2{NO_ID}null; write one"),
    "list as id": ("a.json", [{**GOOD, "image_id": [7]}], f", record 1{NO_ID}[7]; write one"),
    "fraction as id": ("a.json", [{**GOOD, "image_id": 7.5}], f", record 1{NO_ID}7.5; write one"),
    "no number as id": (
        "a.json",
        [{**GOOD, "image_id": float("nan")}],
        f", record 1{NO_ID}NaN; write one",
    ),
    "JSON as a table": ("a.csv", [GOOD], " holds JSON, not a table; name it .json, or .jsonl if"),
    "empty id": ("a.csv", "image_id,prediction\n,a", f', record 1{NO_ID}""; write one'),
    "sample without id": ("a.jsonl", [sample()], f", record 1{NO_ID}null; write one"),
    "prediction without id": ("a.json", [{"prediction": "a"}], f", record 1{NO_ID}null; write one"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_told_in_one_sentence(tmp_path, case):
    name, content, reason = WRONG[case]
    file = written(tmp_path, name, content)
    start = (
        reason.replace("file", f"file {file}", 1)
        if reason.startswith("file")
        else f"{file}{reason}"
    )
    with pytest.raises(InputError, match="^" + re.escape(start)) as told:
        read_results(file, CAPTIONS)
    assert "\n" not in str(told.value)
    assert ";" in str(told.value)


def test_an_answer_is_refused_by_its_question(tmp_path):
    rows = [{"question_id": 70, "answer": 2}]
    with pytest.raises(InputError, match="the answer of question_id 70 is not text"):
        read(tmp_path, "a.json", rows, ANSWERS)
    with pytest.raises(InputError, match=r'expected {"question_id": 1, "answer": "..."}, got '):
        read(tmp_path, "a.json", [GOOD], ANSWERS)
    with pytest.raises(InputError, match="lists question ids more than once: 70; keep one"):
        read(tmp_path, "a.json", [{"question_id": 70, "answer": "2"}] * 2, ANSWERS)


def test_a_broken_workbook_is_told(tmp_path):
    with pytest.raises(InputError, match=r"is not a workbook that can be read .*; save it as .tsv"):
        read(tmp_path, "a.xlsx", "index,prediction")
    with pytest.raises(InputError, match="holds no result"):
        read_results(write_workbook(tmp_path / "a.xlsx"), CAPTIONS)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.tsv", "a.csv", "a.xlsx"])
def test_a_missing_file_is_told(tmp_path, name):
    with pytest.raises(InputError, match=f"{name} does not exist; check the path"):
        read_results(tmp_path / name, CAPTIONS)
