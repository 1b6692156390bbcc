"""Objects of images are read; each way an instances file can be wrong is told in one sentence."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.instances import read_objects


def tree() -> dict:
    """Two images, one of them with two cats and a bus."""
    return {
        "images": [{"id": 11}, {"id": 7, "file_name": "a.jpg"}],
        "categories": [{"id": 5, "name": "bus"}, {"id": 17, "name": "cat", "supercategory": "x"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 17, "bbox": [0, 0, 1, 1]},
            {"id": 2, "image_id": 7, "category_id": 17},
            {"id": 3, "image_id": 7, "category_id": 5},
        ],
    }


def written(folder: Path, content: object) -> Path:
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return file


def test_objects_of_each_image(tmp_path):
    assert read_objects(written(tmp_path, tree())) == {11: set(), 7: {"bus", "cat"}}


def test_whole_numbers_with_a_point_are_ids(tmp_path):
    content = tree()
    for row in content["annotations"]:
        row.update(image_id=float(row["image_id"]), category_id=float(row["category_id"]))
    content["images"][0]["id"] = 11.0
    objects = read_objects(written(tmp_path, content))
    assert objects == {11: set(), 7: {"bus", "cat"}}
    assert {type(key) for key in objects} == {int}


def test_categories_of_joined_files_may_come_twice(tmp_path):
    content = tree()
    content["categories"] *= 2
    assert read_objects(written(tmp_path, content)) == read_objects(written(tmp_path, tree()))


FORM = (
    "; expected 'images' with id, 'categories' with id and name, 'annotations' with image_id "
    "and category_id"
)
Change = Callable[[dict], object]
WRONG: dict[str, tuple[Change, str]] = {
    "captions": (
        lambda t: t.update(annotations=[{"image_id": 7, "caption": "a dog"}]),
        f" is a COCO captions file, not a COCO instances file{FORM}",
    ),
    "keypoints, say": (
        lambda t: t.update(annotations=[{"image_id": 7, "keypoints": []}]),
        f" is a file of other annotations, not a COCO instances file{FORM}",
    ),
    "questions": (
        lambda t: (t.clear(), t.update(questions=[{"question_id": 70}])),
        f" is a VQA questions file, not a COCO instances file{FORM}",
    ),
    "image info": (lambda t: t.pop("annotations"), f" has no 'annotations'{FORM}"),
    "no categories": (lambda t: t.pop("categories"), f" has no 'categories'{FORM}"),
    "object of categories": (
        lambda t: t.update(categories={"5": "bus"}),
        f" has an object as 'categories' and no list{FORM}",
    ),
    "texts as annotations": (
        lambda t: t.update(annotations=["cat"]),
        ": entry 1 of 'annotations' is \"cat\", not an object with 'image_id'; correct it",
    ),
    "no category": (
        lambda t: t["annotations"][1].pop("category_id"),
        ": entry 2 of 'annotations' (id 2) has no 'category_id'; add it",
    ),
    "null category": (
        lambda t: t["annotations"][1].update(category_id=None),
        ": expected a whole number or a text as 'category_id' of entry 2 of 'annotations' (id 2), "
        "got null; correct it",
    ),
    "null name": (
        lambda t: t["categories"][1].update(name=None),
        ": expected text as 'name' of entry 2 of 'categories' (id 17), got null; correct it",
    ),
    "empty name": (
        lambda t: t["categories"][1].update(name=" "),
        ": the name of category 17 is empty; write one each",
    ),
    "two names": (
        lambda t: t["categories"].append({"id": 17, "name": "dog"}),
        " lists category ids more than once: 17; keep one",
    ),
    "unlisted category": (
        lambda t: [row.update(category_id=80 + row["id"]) for row in t["annotations"][1:]],
        " has objects of category 82, 83, as in image 7, which 'categories' does not list; "
        "add the category or remove them",
    ),
    "unlisted image": (
        lambda t: [row.update(image_id=5) for row in t["annotations"][1:]],
        " has objects in image 5, which 'images' does not list; add the image or remove them",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_told_in_one_sentence(tmp_path, kind):
    change, reason = WRONG[kind]
    content = tree()
    change(content)
    file = written(tmp_path, content)
    with pytest.raises(InputError, match=f"^{re.escape(f'{file}{reason}')}$"):
        read_objects(file)


def test_a_list_is_no_instances_file(tmp_path):
    file = written(tmp_path, [{"image_id": 7, "caption": "a dog"}])
    with pytest.raises(InputError, match="is a list of results, not a COCO instances file"):
        read_objects(file)
