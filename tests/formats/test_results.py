"""Result files of every form are read alike."""

import gzip
import json
from pathlib import Path

import pytest
from test_workbook import inline, write_workbook

from vlm.formats.results import ANSWERS, CAPTIONS, Kind, is_text, read_results

VQA = Path(__file__).resolve().parents[1] / "goldens" / "vqa"
TEXT = 'A dog\u2028runs, "fast"\x85 🐕\t\n'


def written(folder: Path, name: str, content: object) -> Path:
    """A file of JSON, JSON lines or text as its name says, gzipped where it ends in .gz."""
    if isinstance(content, list) and ".jsonl" in name:
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    data = text.encode()
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return folder / name


def read(folder: Path, name: str, content: object, kind: Kind = CAPTIONS) -> dict:
    return read_results(written(folder, name, content), kind)


# --- COCO and VQA results --------------------------------------------------------------------

COCO = [{"image_id": 11, "caption": TEXT, "id": 3}, {"score": 0.5, "caption": "", "image_id": "07"}]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz", "results"])
def test_captions_come_as_written_in_the_files_order(tmp_path, name):
    assert list(read(tmp_path, name, COCO).items()) == [(11, TEXT), ("07", "")]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl.gz"])
def test_answers_are_read_alike(tmp_path, name):
    rows = [{"question_id": 70, "answer": "2", "image_id": 7}, {"question_id": 3, "answer": ""}]
    assert read(tmp_path, name, rows, ANSWERS) == {70: "2", 3: ""}


def test_byte_order_mark_and_windows_lines(tmp_path):
    lines = "\ufeff" + "\r\n".join(json.dumps(row) for row in COCO) + "\r\n\r\n"
    assert read(tmp_path, "a.jsonl", lines) == {11: TEXT, "07": ""}
    assert read(tmp_path, "a.json", "\ufeff" + json.dumps(COCO, indent=1)) == {11: TEXT, "07": ""}


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_a_whole_number_with_a_point_is_an_id(tmp_path, name):
    rows = [{"image_id": 7.0, "caption": "a"}, sample(["b"], **metric(image_id=42.0))]
    assert [*map(str, read(tmp_path, name, rows))] == ["7", "42"]


def test_a_published_models_captions(shared):
    file = shared / "data" / "coco_val2017" / "captions_val2017_vinvl_results.json"
    captions = read_results(file, CAPTIONS)
    assert len(captions) == 5000
    assert captions == {row["image_id"]: row["caption"] for row in json.loads(file.read_text())}


def test_the_official_form_of_answers():
    file = VQA / "vqa_OpenEnded_mscoco_val2014_alg_results.json"
    assert read_results(file, ANSWERS)[516673411] == "2"


# --- lmms-eval -------------------------------------------------------------------------------


def sample(responses: object = (TEXT,), **changes: object) -> dict:
    """A line of its per-sample files, with what it has for every task."""
    return {
        "doc_id": 0,
        "doc": {"id": 5, "question": "Describe it.", "answer": ["a dog", "the dog"]},
        "target": "['a dog', 'the dog']",
        "arguments": [["Describe it.", {"max_new_tokens": 64}]],
        "resps": [["unfiltered"]],
        "filtered_resps": responses,
        "doc_hash": "7e",
        **changes,
    }


def metric(**changes: object) -> dict:
    record = {"answer": ["a dog", "the dog"], "pred": "pred", "image_id": 42, "id": 5, **changes}
    return {"coco_Bleu_4": record, "coco_CIDEr": record}


@pytest.mark.parametrize(
    ("responses", "text"),
    [([TEXT], TEXT), ([[TEXT]], TEXT), ([TEXT, "b"], TEXT), (TEXT, TEXT), ([""], ""), ([[]], "")],
)
def test_the_first_response_is_the_text_also_an_empty_one(tmp_path, responses, text):
    assert read(tmp_path, "a.jsonl", [sample(responses, **metric())]) == {42: text}


def test_an_empty_filtered_response_is_not_replaced_by_the_unfiltered(tmp_path):
    assert read(tmp_path, "a.jsonl", [sample([], **metric())]) == {42: ""}


def test_responses_without_a_filter(tmp_path):
    row = sample(**metric())
    del row["filtered_resps"]
    assert read(tmp_path, "a.jsonl", [row]) == {42: "unfiltered"}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (sample(**metric()), 42),
        (sample(**metric(image_id="000042")), "000042"),
        (sample(doc={"image_id": 7}, coco_CIDEr={"image_id": 42}), 42),
        (sample(coco_CIDEr=0.5, coco_passthrough={"pred": ["a"], "image_id": 42}), 42),
        (sample(doc={"image_id": 42, "question_id": 420}), 42),
        (sample(doc={"question_id": "COCO_val2014_000000000042.jpg"}), 42),
        (sample(doc={"question_id": "000000000042.jpg"}), 42),
        (sample(doc={"question_id": 42}), 42),
        (sample(doc={"question_id": 420, "file_name": "val2014\\COCO_val2014_00042.png"}), 42),
    ],
)
def test_the_id_of_a_captioned_sample(tmp_path, row, key):
    assert read(tmp_path, "a.jsonl", [row]) == {key: TEXT}


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (sample([["2"]], doc={"question_id": 420, "image_id": 42}, exact_match=0.3), 420),
        (sample(["2"], doc=None, submission={"question_id": 420, "answer": "two"}), 420),
        (sample(["2"], doc={"question_id": "420"}), "420"),
        (sample([""], doc={"question_id": 420}, exact_match=0.0), 420),
    ],
)
def test_the_id_of_an_answered_sample(tmp_path, row, key):
    first = row["filtered_resps"][0]
    text = first[0] if isinstance(first, list) else first
    assert read(tmp_path, "a.jsonl", [row], ANSWERS) == {key: text}


def test_older_files_hold_all_samples_in_one_object(tmp_path):
    content = {"args": {}, "model_configs": {}, "logs": [sample(**metric())]}
    assert read(tmp_path, "a.json", content) == {42: TEXT}


# --- VLMEvalKit ------------------------------------------------------------------------------

COLUMNS = ["index", "question", "answer", "prediction", "image_path", "image"]
PLACED = ["3", "q", "['a dog']", TEXT, "COCO_val2014_000000000042.jpg", "iVBO" * 100 + "42"]
UNPLACED = ["0005", "q", "['a cat']", "", "", ""]


def table(delimiter: str, end: str = "\n") -> str:
    quoted = [['"' + v.replace('"', '""') + '"' for v in r] for r in (COLUMNS, PLACED, UNPLACED)]
    return end.join([delimiter.join(row) for row in quoted] + [delimiter * 5, ""])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.tsv", "\t"), ("a.csv", ","), ("a.csv.gz", ",")]
)
def test_tables(tmp_path, name, delimiter, mark, end):
    content = mark + table(delimiter, end)
    assert read(tmp_path, name, content) == {42: TEXT, "0005": ""}


def test_unquoted_tables(tmp_path):
    content = 'image_id\tprediction\n42\ta "red" dog, running\n'
    assert read(tmp_path, "a.tsv", content) == {"42": 'a "red" dog, running'}


def test_line_breaks_within_a_field_stay(tmp_path):
    content = 'image_id,prediction\r\n42,"a\r\nb\nc"\r\n'
    assert read(tmp_path, "a.csv", content) == {"42": "a\r\nb\nc"}


def test_workbooks(tmp_path):
    wide = [*map(inline, COLUMNS)], [*map(inline, PLACED)], ["<c><v>5</v></c>", inline("q")]
    rows = "".join(f"<row>{''.join(row)}</row>" for row in wide)
    file = write_workbook(tmp_path / "a.xlsx", rows=rows)
    assert read_results(file, CAPTIONS) == {42: TEXT, "5": ""}


def test_a_number_in_a_workbook_is_an_answer(tmp_path):
    rows = f"<row>{inline('question_id')}{inline('prediction')}</row><row>"
    rows += "<c><v>420</v></c><c><v>2</v></c></row>"
    file = write_workbook(tmp_path / "a.xlsx", rows=rows)
    assert read_results(file, ANSWERS) == {"420": "2"}


@pytest.mark.parametrize(
    ("row", "kind", "key"),
    [
        ({"index": 3, "image_id": 42, "answer": "[]"}, CAPTIONS, 42),
        ({"index": 3, "image_path": "a/COCO_test2014_000000000042.jpg"}, CAPTIONS, 42),
        ({"index": 3, "image": "42" * 200}, CAPTIONS, 3),
        ({"index": 3, "image_path": "42b.jpg"}, CAPTIONS, 3),
        ({"index": 3, "image_path": "42.jpg", "answer": "2"}, ANSWERS, 3),
        ({"index": 3, "question_id": 420, "answer": "2"}, ANSWERS, 420),
    ],
)
def test_the_prediction_is_the_text_and_never_the_answer(tmp_path, row, kind, key):
    assert read(tmp_path, "a.json", [{**row, "prediction": "p"}], kind) == {key: "p"}


def test_what_is_text():
    assert all(map(is_text, ["", "a", "🐕", "\0"]))
    assert not any(map(is_text, ["\ud83d", "a\udc15", None, 3, b"a", ["a"]]))
