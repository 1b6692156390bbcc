"""Which ids are scored: the files that name them, and the folders that hold results."""

import json
from pathlib import Path

import pytest

from vlm.cli.selection import Selection, read_all, read_ids, result_file
from vlm.errors import InputError
from vlm.formats.ids import Id
from vlm.formats.results import ANSWERS, CAPTIONS, Kind

IMAGES = {"images": [{"id": 7}, {"id": 11}], "annotations": []}
QUESTIONS = {"questions": [{"question_id": 70, "image_id": 7, "question": "what?"}]}


@pytest.mark.parametrize(
    ("text", "kind", "ids"),
    [
        ("7\n\n 11 \n", CAPTIONS, ["7", "11"]),
        ("a dog.jpg\nb.jpg", CAPTIONS, ["a dog.jpg", "b.jpg"]),
        ('[7, "11"]', CAPTIONS, [7, "11"]),
        (json.dumps(IMAGES), CAPTIONS, [7, 11]),
        (json.dumps(QUESTIONS), ANSWERS, [70]),
    ],
)
def test_ids_of_a_file(tmp_path: Path, text: str, kind: Kind, ids: list):
    (tmp_path / "split").write_text(text)
    assert read_ids(tmp_path / "split", kind) == ids


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        ("", CAPTIONS, "or a COCO file of the images"),
        ("[]", ANSWERS, "or a VQA file of the questions"),
        ('{"images": [{"file_name": "a.jpg"}]}', CAPTIONS, "holds no ids; expected one a line"),
        ('{"images": 5}', CAPTIONS, "holds no ids; expected one a line"),
        (json.dumps(IMAGES), ANSWERS, "holds no ids; expected one a line"),
        (json.dumps(QUESTIONS), CAPTIONS, "holds no ids; expected one a line"),
        ('[{"image_id": 7}]', CAPTIONS, "holds no ids; expected one a line"),
        ("[7, true]", CAPTIONS, "holds no ids; expected one a line"),
        ("x" * 1000, CAPTIONS, "holds no ids; expected one a line"),
        ("[7, 11", CAPTIONS, "split is not one whole JSON list; mend it, or give the ids one"),
        ("[" * 100_000, CAPTIONS, "split is not one whole JSON list; mend it, or give the ids"),
    ],
)
def test_files_that_hold_no_ids(tmp_path: Path, text: str, kind: Kind, sentence: str):
    (tmp_path / "split").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_ids(tmp_path / "split", kind)


def test_captions_of_a_part_are_its_split(tmp_path: Path):
    rows = [{"image_id": key, "caption": "a dog"} for key in (7, 11, 13)]
    (tmp_path / "results.json").write_text(json.dumps(rows))
    (tmp_path / "split.json").write_text(json.dumps(IMAGES))
    selection = Selection(str(tmp_path / "split.json"))
    listed: dict[Id, object] = {13: None, 11: None, 7: None}
    assert list(selection.read(tmp_path, CAPTIONS, listed)) == [11, 7]


def test_a_run_is_its_results(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no results\.json; give a result file, or the"):
        result_file(tmp_path)
    (tmp_path / "results.json").write_text('[{"image_id": 7, "caption": "a dog"}]')
    assert result_file(tmp_path) == result_file(tmp_path / "results.json")
    assert read_all(tmp_path, CAPTIONS, {7: None}) == {7: "a dog"}


def test_where_no_part_can_be_chosen_none_is_advised(tmp_path: Path):
    (tmp_path / "results.json").write_text('[{"image_id": 7, "caption": "a dog"}]')
    with pytest.raises(InputError, match=r"lacks image_id 11; add them$"):
        read_all(tmp_path, CAPTIONS, {7: None, 11: None})
    (tmp_path / "more.json").write_text(
        '[{"image_id": 7, "caption": "a"}, {"image_id": 11, "caption": "b"}]'
    )
    with pytest.raises(
        InputError, match=r"has image_id 11, which the references do not list; remove them$"
    ):
        read_all(tmp_path / "more.json", CAPTIONS, {7: None})
