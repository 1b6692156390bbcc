"""Outlines of objects become masks; each way an outline can be wrong is told in one sentence."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm.errors import InputError
from vlm.formats.instances import Scene, read_scenes
from vlm.formats.masks import Mask, union_mask

# Of 3 x 4 pixels, column by column: the pixels (0, 1), (1, 1) and (1, 2).
RUNS = [3, 2, 2, 1, 4]
CORNER = [[0, 0, 2, 0, 2, 1, 0, 1]]  # the pixels (0, 0) and (0, 1)


def tree(*outlines: Any) -> dict:
    """One image whose objects have these outlines; a first one without any object."""
    return {
        "images": [
            {"id": 11, "file_name": "b.jpg", "height": 5, "width": 7},
            {"id": 7, "file_name": "a.jpg", "height": 3, "width": 4},
        ],
        "categories": [{"id": 5, "name": "bus"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {"id": 30 + n, "image_id": 7, "category_id": 17, "segmentation": outline}
            for n, outline in enumerate(outlines)
        ],
    }


def scenes_of(folder: Path, content: dict) -> list[Scene]:
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return read_scenes(file)[0]


def mask_of(folder: Path, *outlines: Any) -> Mask | None:
    scene = scenes_of(folder, tree(*outlines))[1]
    return union_mask(scene, scene.objects)


def pixels(mask: Mask | None) -> list[list[int]]:
    """A mask within its 3 x 4 image."""
    assert mask is not None
    x0, y0, x1, y1 = np.rint(mask.extent * [4, 3, 4, 3]).astype(int)
    whole = np.zeros((3, 4), dtype=int)
    whole[y0:y1, x0:x1] = mask.cells
    assert mask.share == pytest.approx(whole.mean())
    return whole.tolist()


def test_scenes(tmp_path):
    content = tree(None, CORNER)
    content["annotations"][1] |= {"iscrowd": 1, "category_id": 5}
    scenes = scenes_of(tmp_path, content)
    assert [(scene.image_id, scene.name, scene.size) for scene in scenes] == [
        (11, "b.jpg", (5, 7)),
        (7, "a.jpg", (3, 4)),
    ]
    assert scenes[0].objects == []
    found = [(each.category, each.segmentation, each.crowd) for each in scenes[1].objects]
    assert found == [("cat", None, False), ("bus", CORNER, True)]
    assert read_scenes(tmp_path / "instances.json")[1] == ["bus", "cat"]


def test_run_lengths_as_numbers_and_as_text(tmp_path):
    from pycocotools import mask as rle

    expected = [[0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    outline = {"size": [3, 4], "counts": RUNS}
    found = mask_of(tmp_path, outline)
    assert pixels(found) == expected
    assert found is not None
    np.testing.assert_allclose(found.extent, [1 / 4, 0, 3 / 4, 2 / 3])
    text = rle.frPyObjects(outline, 3, 4)["counts"].decode()
    assert pixels(mask_of(tmp_path, {"size": [3, 4], "counts": text})) == expected


def test_polygons_and_unions(tmp_path):
    assert pixels(mask_of(tmp_path, CORNER)) == [[1, 1, 0, 0], [0] * 4, [0] * 4]
    both = [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert pixels(mask_of(tmp_path, CORNER, {"size": [3, 4], "counts": RUNS})) == both
    parts = [*CORNER, [3, 2, 4, 2, 4, 3, 3, 3]]
    assert pixels(mask_of(tmp_path, parts)) == [[1, 1, 0, 0], [0] * 4, [0, 0, 0, 1]]


@pytest.mark.parametrize("bare", [None, [], {"size": [3, 4], "counts": [12]}])
def test_no_outline_is_no_mask(tmp_path, bare):
    assert mask_of(tmp_path, bare) is None
    assert (mask_of(tmp_path, CORNER, bare) is None) == (not bare)


WRONG = {
    "flat polygon": (CORNER[0], "a list that is not of polygons x, y, x, y, x, y, ..."),
    "odd polygon": ([[0, 0, 1, 0, 1, 1, 0]], "a list that is not of polygons"),
    "short polygon": ([[0, 0, 1, 1]], "a list that is not of polygons"),
    "words": ([["a"] * 6], "a list that is not of polygons"),
    "other size": ({"size": [4, 3], "counts": RUNS}, "the size [4, 3]"),
    "other pixels": ({"size": [3, 4], "counts": [3, 2]}, "counts of other pixels"),
    "no counts": ({"size": [3, 4]}, "neither a list nor an object with 'size' and 'counts'"),
    "text": ("k11n32", "neither a list nor an object"),
    "no runs": ({"size": [3, 4], "counts": "!!!"}, "one that cannot be read (Invalid RLE"),
    "number": ({"size": [3, 4], "counts": 12}, "counts that are no text"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_outline_is_told(tmp_path, kind):
    outline, problem = WRONG[kind]
    start = (
        f"{tmp_path / 'instances.json'}: expected polygons or run lengths of 3 x 4 pixels as "
        f"'segmentation' of annotation 31 of a.jpg, got {problem}"
    )
    with pytest.raises(InputError, match=f"^{re.escape(start)}.*; correct it$"):
        mask_of(tmp_path, CORNER, outline)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"height": None}, "expected pixels as 'height' of image 7, got null; correct it"),
        ({"width": 0}, "expected pixels as 'width' of image 7, got 0; correct it"),
        ({"file_name": 7}, "expected text as 'file_name' of entry 2 of 'images' (id 7), got 7"),
        ({"id": 11}, "lists image ids more than once: 11; keep one"),
    ],
)
def test_images_need_a_name_and_a_size(tmp_path, change, sentence):
    content = tree()
    content["images"][1] |= change
    with pytest.raises(InputError, match=re.escape(sentence)):
        scenes_of(tmp_path, content)


def test_sizes_must_be_there(tmp_path):
    content = tree()
    del content["images"][0]["height"]
    with pytest.raises(InputError, match=r"entry 1 of 'images' \(id 11\) has no 'height'; add it"):
        scenes_of(tmp_path, content)


def test_objects_of_unlisted_images_and_categories_are_told(tmp_path):
    content = tree(CORNER)
    content["annotations"][0]["image_id"] = 5
    with pytest.raises(InputError, match="has objects in image 5, which 'images' does not list"):
        scenes_of(tmp_path, content)
