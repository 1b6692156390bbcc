"""Annotation files become samples; each way one can be wrong is told in one sentence."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.captions import read_captions

IMAGES = Path("photos")


def tree() -> dict:
    """Two images, three captions, in no special order."""
    return {
        "images": [{"id": 11, "file_name": "b.jpg"}, {"id": 7, "file_name": "sub/a.jpg"}],
        "annotations": [
            {"id": 1, "image_id": 7, "caption": "a dog"},
            {"id": 2, "image_id": 11, "caption": "two cats"},
            {"id": 3, "image_id": 7, "caption": "ein Hund"},
        ],
    }


def written(folder: Path, content: object, name: str = "captions.json") -> Path:
    file = folder / name
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_samples_come_in_the_order_of_images(tmp_path):
    samples = read_captions(written(tmp_path, tree()), IMAGES)
    assert [sample[:3] for sample in samples] == [
        (11, IMAGES / "b.jpg", ("two cats",)),
        (7, IMAGES / "sub/a.jpg", ("a dog", "ein Hund")),
    ]


def test_gzip_is_read_alike(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(tree()).encode()))
    plain = read_captions(written(tmp_path, tree()), IMAGES)
    assert read_captions(tmp_path / "a.json.gz", IMAGES) == plain


def test_an_empty_caption_can_be_scored_against(tmp_path):
    content = spoilt(lambda tree: tree["annotations"][1].update(caption=""))
    assert read_captions(written(tmp_path, content), IMAGES)[0].captions == ("",)


def test_captions_need_no_file_name(tmp_path):
    content = spoilt(lambda tree: tree["images"][1].pop("file_name"))
    assert read_captions(written(tmp_path, content), IMAGES)[1].path == IMAGES / "7"


def test_whole_numbers_with_a_point_are_ids(tmp_path):
    content = spoilt(
        lambda tree: [row.update(image_id=float(row["image_id"])) for row in tree["annotations"]]
    )
    content["images"][0]["id"] = 11.0
    assert read_captions(written(tmp_path, content), IMAGES) == read_captions(
        written(tmp_path, tree(), "b.json"), IMAGES
    )


def test_annotations_may_be_missing(tmp_path):
    content = {"images": tree()["images"]}
    assert [s.captions for s in read_captions(written(tmp_path, content), IMAGES)] == [(), ()]


def spoilt(change: Callable[[dict], object]) -> dict:
    content = tree()
    change(content)
    return content


FORM = "; expected 'images' with id and file_name, 'annotations' with image_id and caption"
VQA_ROW = {"image_id": 7, "question_id": 70, "answers": []}
WRONG = {
    "absent image": (
        spoilt(lambda t: t["annotations"][1].update(image_id=5)),
        " has captions for image 5, which it does not list; add the image or remove the captions",
    ),
    "null caption": (
        spoilt(lambda t: t["annotations"][1].update(caption=None)),
        ": expected text as 'caption' of entry 2 of 'annotations' (id 2), got null; correct it",
    ),
    "number as caption": (
        spoilt(lambda t: t["annotations"][1].update(caption=3)),
        ": expected text as 'caption' of entry 2 of 'annotations' (id 2), got 3; correct it",
    ),
    "half a letter": (
        spoilt(lambda t: t["annotations"][1].update(caption="a \ud83d")),
        ": expected text as 'caption' of entry 2 of 'annotations' (id 2), got \"a \\ud83d\"; ",
    ),
    "doubled image": (
        spoilt(lambda t: t["images"].append(t["images"][0])),
        " lists image ids more than once: 11; keep one",
    ),
    "doubled annotation": (
        spoilt(lambda t: t["annotations"][0].update(id=3)),
        " lists annotation ids more than once: 3; keep one",
    ),
    "many doubled": (
        spoilt(lambda t: t.update(images=[{"id": i // 2, "file_name": "a"} for i in range(14)])),
        " lists image ids more than once: 0, 1, 2, 3, 4 and 2 more; keep one",
    ),
    "instances": (
        spoilt(lambda t: t.update(annotations=[{"image_id": 7, "category_id": 1, "bbox": []}])),
        f" is a COCO instances file, not a COCO captions file{FORM}",
    ),
    "keypoints, say": (
        spoilt(lambda t: t.update(annotations=[{"image_id": 7, "keypoints": []}])),
        f" is a file of other annotations, not a COCO captions file{FORM}",
    ),
    "results": (
        [{"image_id": 7, "caption": "a dog"}],
        f" is a list of results, not a COCO captions file{FORM}",
    ),
    "list": ([], f" is a list, not a COCO captions file{FORM}"),
    "number": (3, f" is a single value, 3, not a COCO captions file{FORM}"),
    "VQA questions": (
        {"questions": [VQA_ROW]},
        f" is a VQA questions file, not a COCO captions file{FORM}",
    ),
    "VQA answers": (
        {"annotations": [VQA_ROW]},
        f" is a VQA annotations file, not a COCO captions file{FORM}",
    ),
    "no images": (
        {"annotations": tree()["annotations"]},
        f" has no 'images'{FORM}",
    ),
    "null annotations": (
        spoilt(lambda t: t.update(annotations=None)),
        f" has null as 'annotations' and no list{FORM}",
    ),
    "texts as annotations": (
        spoilt(lambda t: t.update(annotations=["a", "b"])),
        ": entry 1 of 'annotations' is \"a\", not an object with 'image_id'; correct it and 1 more",
    ),
    "texts as images": (
        spoilt(lambda t: t.update(images=["a.jpg"])),
        ": entry 1 of 'images' is \"a.jpg\", not an object with 'id'; correct it",
    ),
    "no image_id": (
        spoilt(lambda t: [row.pop("image_id") for row in t["annotations"][1:]]),
        ": entry 2 of 'annotations' (id 2) has no 'image_id'; add it and 1 more",
    ),
    "list as id": (
        spoilt(lambda t: t["annotations"][0].update(image_id=[7])),
        ": expected a whole number or a text as 'image_id' of entry 1 of 'annotations' (id 1), "
        "got a list; correct it",
    ),
    "no number as id": (
        spoilt(lambda t: [row.update(id=float("nan")) for row in t["images"]]),
        ": expected a whole number or a text as 'id' of entry 1 of 'images', got NaN; correct it "
        "and 1 more",
    ),
    "no id": (
        spoilt(lambda t: t["images"][1].pop("id")),
        ": entry 2 of 'images' has no 'id'; add it",
    ),
    "number as file name": (
        spoilt(lambda t: t["images"][1].update(file_name=5)),
        ": expected text as 'file_name' of entry 2 of 'images' (id 7), got 5; correct it",
    ),
    "no image": (
        {"images": [], "annotations": []},
        " lists no image; give a file with samples",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_told_in_one_sentence(tmp_path, kind):
    content, reason = WRONG[kind]
    file = written(tmp_path, content)
    with pytest.raises(InputError, match="^" + re.escape(f"{file}{reason}")) as told:
        read_captions(file, IMAGES)
    assert "\n" not in str(told.value)
    assert ";" in str(told.value)


def test_a_cut_file_is_told(tmp_path):
    file = written(tmp_path, json.dumps(tree())[:150])
    with pytest.raises(InputError, match=r"is not whole JSON \(line 1: .* fetch or write it again"):
        read_captions(file, IMAGES)


# --- JSON lines ------------------------------------------------------------------------------


def test_lines_become_samples(tmp_path):
    lines = (
        '{"image": "a.jpg", "captions": ["one", "two"]}\r\n'
        "\n"
        '{"image": "b.jpg", "captions": ["line\u2028separator\x85within"], "id": 5}\n'
        '{"image": "c.jpg", "domain": "out-domain"}'
    )
    expected = [
        ("a.jpg", IMAGES / "a.jpg", ("one", "two"), ""),
        (5, IMAGES / "b.jpg", ("line\u2028separator\x85within",), ""),
        ("c.jpg", IMAGES / "c.jpg", (), "out-domain"),
    ]
    assert read_captions(written(tmp_path, lines, "a.jsonl"), IMAGES) == expected
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    assert read_captions(tmp_path / "a.jsonl.gz", IMAGES) == expected


FORM_OF_LINES = 'expected {"image": "a.jpg", "captions": ["..."]}, got '


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"file": "b.jpg"}', "an object without 'image'"),
        ('{"image": 3}', "3 as 'image'"),
        ('{"image": ""}', "\"\" as 'image'"),
        ('{"image": "b.jpg", "id": 4.5}', "4.5 as 'id'"),
        ('"b.jpg"', '"b.jpg"'),
        ('["b.jpg"]', "a list"),
        ('{"image": "b.jpg", "captions": "a dog"}', "\"a dog\" as 'captions'"),
        ('{"image": "b.jpg", "captions": [5]}', "5 as a caption"),
        ('{"image": "b.jpg", "captions": ["a", null]}', "null as a caption"),
    ],
)
def test_a_wrong_line_is_told_by_its_number(tmp_path, line, reason):
    file = written(tmp_path, f'{{"image": "a.jpg"}}\n\n{line}\n{{"image": "c.jpg"}}', "a.jsonl")
    with pytest.raises(
        InputError,
        match=f"^{re.escape(f'{file}, line 3: {FORM_OF_LINES}{reason}')}; correct the line$",
    ):
        read_captions(file, IMAGES)


def test_half_a_line_is_told(tmp_path):
    file = written(tmp_path, '{"image": "a.jpg"}\n{"image": "b.jpg", "capt', "a.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2 is not whole JSON \(.*been cut off"):
        read_captions(file, IMAGES)


def test_doubled_lines_are_told(tmp_path):
    file = written(tmp_path, '{"image": "a.jpg"}\n{"image": "a.jpg"}', "a.jsonl")
    with pytest.raises(InputError, match=r"lists image ids more than once: a\.jpg; keep one"):
        read_captions(file, IMAGES)


def test_empty_lines_are_told(tmp_path):
    with pytest.raises(InputError, match=r"a\.jsonl lists no image; give a file with samples$"):
        read_captions(written(tmp_path, "\n", "a.jsonl"), IMAGES)


# --- real files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "split", "photos", "each"),
    [
        ("flickr8k", "train", 5996, 5),
        ("flickr8k", "val", 1000, 5),
        ("coco", "train", 352, None),
        ("coco", "val", 56, None),
    ],
)
def test_real_captions_are_read(shared, data, split, photos, each):
    folder = shared / "data" / data
    samples = read_captions(folder / f"annotations/captions_{split}.json", folder / "images")
    assert len(samples) == photos
    assert all(sample.captions for sample in samples)
    assert all(sample.path.is_file() for sample in samples[:20])
    if each:
        assert {len(sample.captions) for sample in samples} == {each}


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("coco/annotations/instances_val.json", "is a COCO instances file"),
        ("coco/annotations/vqa_questions_val.json", "is a VQA questions file"),
        ("coco/annotations/vqa_annotations_val.json", "is a VQA annotations file"),
        ("coco_val2017/captions_val2017_vinvl_results.json", "is a list of results"),
    ],
)
def test_real_files_of_other_kinds_are_told(shared, file, reason):
    with pytest.raises(InputError, match=f"{reason}, not a COCO captions file; expected 'images'"):
        read_captions(shared / "data" / file, IMAGES)


def test_captions_name_their_image_in_any_spelling(tmp_path):
    tree = {
        "images": [{"id": 42, "file_name": "a.jpg"}, {"id": 7, "file_name": "b.jpg"}],
        "annotations": [
            {"id": 1, "image_id": "42", "caption": "a dog"},
            {"id": 2, "image_id": 7, "caption": "a cat"},
            {"id": 3, "image_id": "000000000042", "caption": "a brown dog"},
        ],
    }
    file = tmp_path / "captions.json"
    file.write_text(json.dumps(tree | {"annotations": tree["annotations"][:2]}))
    assert [sample.captions for sample in read_captions(file, tmp_path)] == [("a dog",), ("a cat",)]
    file.write_text(json.dumps(tree))
    with pytest.raises(InputError, match=r"id 42 is given in two spellings"):
        read_captions(file, tmp_path)
