"""Submission files are written as servers want them, and what they would refuse is found."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.formats.results import ANSWERS, CAPTIONS
from vlm.formats.submission import (
    COCO,
    NOCAPS,
    VQA,
    Record,
    file_name,
    find_faults,
    read_expected,
    read_records,
    write_submission,
)

GOLDENS = Path(__file__).resolve().parents[1] / "goldens" / "vqa"
ROWS: list[Record] = [
    {"image_id": 11, "caption": "a dog 🐕"},
    {"image_id": 7, "caption": ""},
    {"image_id": 5, "caption": "two\ncats"},
]
IDS = [11, 7, 5]
NAME = "captions_val2014_tiny_results.json"


def written(file: Path, content: object) -> Path:
    file.write_text(json.dumps(content))
    return file


def refused(reason: str):
    return pytest.raises(InputError, match=f"^{re.escape(reason)}")


# --- Names and expected ids ------------------------------------------------------------------


def test_names_of_files():
    assert file_name(COCO, "val2014", algorithm="tiny") == NAME
    assert file_name(COCO, "test2014", algorithm="a_b-1.5") == (
        "captions_test2014_a_b-1.5_results.json"
    )
    for split in ("test2015", "test-dev2015"):
        assert file_name(VQA, split, algorithm="tiny") == (
            f"vqa_OpenEnded_mscoco_{split}_tiny_results.json"
        )
    assert file_name(NOCAPS, "val", algorithm="tiny") == "nocaps_val_tiny_results.json"


def test_wrong_names_are_refused():
    with refused("expected split val2014 or test2014, got 'test2015'; choose one"):
        file_name(COCO, "test2015", algorithm="tiny")
    for algorithm in ("", "a b", "../a", "a/b", "ä", "a\n"):
        with refused("expected an algorithm's name of letters, digits, '.', '_' and '-', got "):
            file_name(COCO, "val2014", algorithm=algorithm)


def test_expected_ids_of_images(tmp_path):
    images = [{"id": 11, "file_name": "b.jpg"}, {"id": 7, "file_name": "a.jpg"}]
    assert read_expected(written(tmp_path / "a.json", {"images": images}), CAPTIONS) == [11, 7]
    file = written(tmp_path / "a.json", {"images": [*images, {"id": "5"}, {"id": "x"}]})
    with refused(f"{file}: image_id 5, x are no whole numbers, which servers expect; give"):
        read_expected(file, CAPTIONS)


def test_expected_ids_of_questions(tmp_path):
    file = GOLDENS / "v2_OpenEnded_mscoco_val2014_questions.json"
    ids = read_expected(file, ANSWERS)
    assert ids == [row["question_id"] for row in json.loads(file.read_text())["questions"]]
    file = written(tmp_path / "a.json", {"images": [{"id": 7}]})
    with refused(f"{file} has no 'questions'; expected 'questions' with question_id, image_id and"):
        read_expected(file, ANSWERS)


# --- Records ---------------------------------------------------------------------------------


def test_records_come_in_the_expected_order_with_numbers_as_ids(tmp_path):
    rows = [{"image_id": "007", "caption": "b", "score": 1}, {"image_id": 11, "caption": "a"}]
    assert read_records(written(tmp_path / "a.json", rows), CAPTIONS, [11, 7]) == [
        {"image_id": 11, "caption": "a"},
        {"image_id": 7, "caption": "b"},
    ]


BREAKS = ["\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("end", BREAKS)
def test_line_breaks_of_captions_become_spaces_those_of_answers_stay(tmp_path, end):
    captions = written(tmp_path / "a.json", [{"image_id": 7, "caption": f"{end}a{end}b{end}"}])
    assert read_records(captions, CAPTIONS, [7]) == [{"image_id": 7, "caption": " a b "}]
    answers = written(tmp_path / "b.json", [{"question_id": 7, "answer": f"a{end}b"}])
    assert read_records(answers, ANSWERS, [7]) == [{"question_id": 7, "answer": f"a{end}b"}]


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ([11, 7, 5, 2, 3], " lacks image_id 2, 3; add them"),
        ([*IDS, *range(100, 107)], " lacks image_id 100, 101, 102, 103, 104 and 2 more; add"),
        ([7], " has image_id 11, 5, which are not expected; remove them"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, expected, reason):
    file = written(tmp_path / "a.json", ROWS)
    with refused(f"{file}{reason}"):
        read_records(file, CAPTIONS, expected)


# --- Files -----------------------------------------------------------------------------------


def test_coco_files_are_zipped_side_by_side(tmp_path):
    records = {"val2014": ROWS, "test2014": ROWS[1:]}
    files = write_submission(tmp_path / "new", COCO, records, algorithm="tiny")
    names = [NAME, NAME.replace("val", "test")]
    assert [file.name for file in files] == [*names, "results.zip"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(
        [*names, "results.zip"]
    )
    with zipfile.ZipFile(files[-1]) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == names
        assert [json.loads(archive.read(name)) for name in names] == [ROWS, ROWS[1:]]
        assert archive.read(NAME) == files[0].read_bytes()
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o644}


def test_the_same_content_makes_the_same_archive(tmp_path):
    first = write_submission(tmp_path / "a", COCO, {"val2014": ROWS}, algorithm="x")[-1]
    again = write_submission(tmp_path / "b", COCO, {"val2014": ROWS}, algorithm="x")[-1]
    assert first.read_bytes() == again.read_bytes()
    with zipfile.ZipFile(first) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_an_archive_is_whole_or_the_one_before(tmp_path, monkeypatch):
    target = write_submission(tmp_path, COCO, {"val2014": ROWS}, algorithm="x")[-1]
    before = target.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with refused(f"cannot write to {tmp_path} (No space left on device); choose another folder"):
        write_submission(tmp_path, COCO, {"val2014": ROWS[1:]}, algorithm="x")
    assert target.read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))


def test_other_tasks_have_one_file(tmp_path):
    rows: list[Record] = [{"question_id": 420, "answer": "yes"}]
    (file,) = write_submission(tmp_path, VQA, {"test2015": rows}, algorithm="tiny")
    assert file.name == "vqa_OpenEnded_mscoco_test2015_tiny_results.json"
    assert json.loads(file.read_text()) == rows
    (file,) = write_submission(tmp_path, NOCAPS, {"test": ROWS}, algorithm="tiny")
    assert file.name == "nocaps_test_tiny_results.json"


def test_nothing_is_written_under_a_wrong_name(tmp_path):
    with refused("expected split"):
        write_submission(tmp_path, COCO, {"val2014": ROWS, "val": ROWS}, algorithm="tiny")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    file = written(tmp_path / "a", 1)
    with refused(
        f"{str(file / NAME)!r} cannot be written, as {str(file)!r} is a file and no folder"
    ):
        write_submission(file, COCO, {"val2014": ROWS}, algorithm="tiny")


# --- Faults ----------------------------------------------------------------------------------


def faults(folder: Path, rows: object, *, name: str = NAME) -> list[str]:
    """What is said of a file, without the file's path."""
    file = written(folder / name, rows)
    told = find_faults(file, COCO, IDS)
    assert all(fault.startswith(str(file)) and "\n" not in fault for fault in told)
    return [fault.removeprefix(str(file)).removeprefix(": ").strip() for fault in told]


def test_a_good_file_has_none(tmp_path):
    assert faults(tmp_path, ROWS) == []
    assert faults(tmp_path, ROWS[::-1], name=NAME.replace("val", "test")) == []


def test_a_published_models_captions_have_none(shared, tmp_path):
    folder = shared / "data" / "coco_val2017"
    ids = read_expected(folder / "captions_val2017.json.gz", CAPTIONS)
    text = (folder / "captions_val2017_vinvl_results.json").read_text()
    (tmp_path / NAME).write_text(text)
    assert find_faults(tmp_path / NAME, COCO, ids) == []


def test_official_answers_have_none_but_their_split(tmp_path):
    ids = read_expected(GOLDENS / "v2_OpenEnded_mscoco_val2014_questions.json", ANSWERS)
    file = GOLDENS / "vqa_OpenEnded_mscoco_val2014_alg_results.json"
    (fault,) = find_faults(file, VQA, ids)
    assert "expected the name vqa_OpenEnded_mscoco_test-dev2015_NAME_results.json or" in fault
    good = tmp_path / file.name.replace("val2014", "test-dev2015")
    good.write_text(file.read_text())
    assert find_faults(good, VQA, ids) == []


@given(st.dictionaries(st.integers(0, 10**6), st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_made_has_none(tmp_path_factory, texts: dict[int, str]):
    folder = tmp_path_factory.mktemp("made")
    pairs = [(f"{key:012}", text) for key, text in texts.items()] + [(-1, "\r")]
    rows = [{"image_id": key, "caption": text} for key, text in pairs]
    ids = [*texts, -1]
    records = {"val2014": read_records(written(folder / "a.json", rows), CAPTIONS, ids)}
    file, _ = write_submission(folder, COCO, records, algorithm="x")
    assert find_faults(file, COCO, ids) == []


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"annotations": ROWS}, ["expected a list of records, got something else; write a list"]),
        (
            [*ROWS, 3, {"image_id": 2}, {"image_id": 3, "caption": "a", "score": 1}],
            [
                "records 4, 5, 6 do not have the fields image_id and caption alone; "
                "write both and no others"
            ],
        ),
        (
            [*ROWS, {"image_id": "2", "caption": "a"}, {"image_id": True, "caption": "a"}],
            ["the image_id of records 4, 5 is no whole number; write it without quotes and point"],
        ),
        (
            [*ROWS[1:], {"image_id": 11, "caption": None}],
            ["the caption of image_id 11 is not text; write one each"],
        ),
        ([*ROWS, ROWS[1]], ["has image_id 7 more than once; keep one each"]),
        (ROWS[2:], ["lacks image_id 11, 7; add them"]),
        (
            [*ROWS, {"image_id": 2, "caption": "a"}],
            ["has image_id 2, which are not expected; remove them"],
        ),
        (
            [ROWS[0], ROWS[0], {"image_id": 2, "caption": "a"}, {"image_id": 5, "caption": "b"}],
            [
                "has image_id 11 more than once; keep one each",
                "lacks image_id 7; add them",
                "has image_id 2, which are not expected; remove them",
            ],
        ),
    ],
)
def test_each_fault_is_told(tmp_path, rows, told):
    assert faults(tmp_path, rows) == told


@pytest.mark.parametrize("end", BREAKS[1:])
def test_line_breaks_that_shift_captions_are_told(tmp_path, end):
    rows = [*ROWS[1:], {"image_id": 11, "caption": f"a dog{end}"}]
    (fault,) = faults(tmp_path, rows)
    assert fault.startswith("the caption of image_id 11 has a line break at which the official")
    file = tmp_path / "vqa_OpenEnded_mscoco_test2015_tiny_results.json"
    assert find_faults(written(file, [{"question_id": 7, "answer": end}]), VQA, [7]) == []


@pytest.mark.parametrize(
    "name",
    [
        "results.json",
        "captions_val2017_a_results.json",
        "captions_val2014__results.json",
        f"x{NAME}",
    ],
)
def test_a_wrong_name_is_told(tmp_path, name):
    wanted = "captions_val2014_NAME_results.json or captions_test2014_NAME_results.json"
    assert faults(tmp_path, ROWS, name=name) == [f"expected the name {wanted}; rename it"]


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with refused(f"file {tmp_path / NAME} does not exist"):
        find_faults(tmp_path / NAME, COCO, IDS)
    (tmp_path / NAME).write_text('[{"image_id"')
    with refused(f"file {tmp_path / NAME} is not whole JSON"):
        find_faults(tmp_path / NAME, COCO, IDS)
