"""Boxes of COCO instances and detections: read, cut at the borders, refused."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.formats.detections import normalised, read_boxes, read_sizes


def instances(*annotations: dict[str, Any]) -> dict[str, Any]:
    """Two images of 37 x 23 and their annotations."""
    images = [{"id": key, "height": 23, "width": 37} for key in (7, 3)]
    return {"images": images, "annotations": list(annotations), "categories": []}


def annotation(image: int, bbox: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "bbox": bbox, "category_id": 1, "iscrowd": 0, **more}


def detection(image: int | str, bbox: Any, score: Any) -> dict[str, Any]:
    return {"image_id": image, "bbox": bbox, "score": score, "category_id": 1}


def written(folder: Path, content: Any) -> Path:
    file = folder / "boxes.json"
    file.write_text(json.dumps(content))
    return file


def test_instances_keep_their_order_and_list_every_image(tmp_path):
    tree = instances(annotation(3, [2, 5, 11, 7]), annotation(3, [0.5, 1, 2, 3]))
    found = read_boxes(written(tmp_path, tree))
    assert found == {7: [], 3: [(2, 5, 13, 12), (0.5, 1, 2.5, 4)]}
    assert list(found) == [7, 3]


def test_crowds_and_boxes_without_area_are_left_out(tmp_path):
    # The last one stands so in COCO's own instances_train2017, image 200365.
    tree = instances(
        annotation(7, [1, 1, 5, 5]),
        annotation(7, [2, 2, 5, 5], iscrowd=1),
        annotation(3, [296.65, 388.33, 1.03, 0.0]),
    )
    assert read_boxes(written(tmp_path, tree)) == {7: [(1, 1, 6, 6)], 3: []}


def test_detections_come_by_score_and_equal_ones_in_their_order(tmp_path):
    rows = [
        detection("a", [0, 0, 1, 1], 0.3),
        detection(5, [0, 0, 9, 9], 0.1),
        detection("a", [0, 0, 2, 2], 0.7),
        detection("a", [0, 0, 3, 3], 0.3),
    ]
    file = written(tmp_path, rows)
    squares = [(0, 0, 2, 2), (0, 0, 1, 1), (0, 0, 3, 3)]
    assert read_boxes(file) == {"a": squares, 5: [(0, 0, 9, 9)]}
    assert read_boxes(file, limit=2) == {"a": squares[:2], 5: [(0, 0, 9, 9)]}


def test_a_gzipped_file_is_the_same(tmp_path):
    tree = instances(annotation(3, [2, 5, 11, 7]))
    packed = tmp_path / "boxes.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(tree).encode()))
    assert read_boxes(packed) == read_boxes(written(tmp_path, tree))


NUMBER = "expected bbox [x, y, width, height], finite and none negative in size, got"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (instances(annotation(3, [1, 2, float("nan"), 4])), f"of image 3: {NUMBER} [1, 2, nan, 4]"),
        (instances(annotation(3, [1, 2, 3, float("inf")])), f"of image 3: {NUMBER} [1, 2, 3, inf]"),
        (instances(annotation(3, [1, 2, 10**400, 4])), f"of image 3: {NUMBER} [1, 2, 1000"),
        (instances(annotation(3, [1, 2, -3, 4])), f"of image 3: {NUMBER} [1, 2, -3, 4]; correct"),
        (instances(annotation(3, [1, 2, 3])), f"of image 3: {NUMBER} [1, 2, 3]; correct it"),
        (instances(annotation(3, [1, 2, True, 4])), f"of image 3: {NUMBER} [1, 2, True, 4]"),
        (instances(annotation(3, "1 2 3 4")), f"of image 3: {NUMBER} 1 2 3 4; correct it"),
        (instances({"image_id": 3, "caption": "a"}), f"{NUMBER} none beside image_id, caption"),
        (
            instances({"id": 3}),
            "annotation 1: expected image_id, a whole number or a text, got none",
        ),
        (instances(annotation(5, [1, 2, 3, 4])), "annotation 1 is of image 5, which the file does"),
        (instances(), "holds no box; give 'images' with id"),
        ({"images": [{"id": 3}] * 2, "annotations": []}, "lists image ids more than once: 3; keep"),
        (
            {"images": [3], "annotations": []},
            "image 1: expected id, a whole number or a text, got 3",
        ),
        ({"questions": []}, "has no boxes: expected 'images' with id, 'annotations' with image_id"),
        (4, "has no boxes: expected 'images' with id"),
        ([], "holds no box; give"),
        ([3], "detection 1: expected image_id, a whole number or a text, got 3; give"),
        (
            [detection(3, [1, 2, 3, 4], None)],
            "detection 1 of image 3: expected a finite score, got",
        ),
        ([detection(3, [1, 2, 3, 4], float("nan"))], "expected a finite score, got nan; write one"),
        ([{"image_id": 3, "bbox": [1, 2, 3, 4]}], "a finite score, got none beside image_id, bbox"),
        ([{"image_id": 3, "caption": "a"}], f"{NUMBER} none beside image_id, caption; correct it"),
    ],
)
def test_what_is_no_box_is_refused(tmp_path, content, reason):
    with pytest.raises(InputError, match=re.escape(reason)) as told:
        read_boxes(written(tmp_path, content))
    assert "\n" not in str(told.value)
    assert "boxes.json" in str(told.value)


def test_a_limit_of_none_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"^expected a limit of 1 box or more an image, got 0; "):
        read_boxes(written(tmp_path, instances()), limit=0)


def test_boxes_become_parts_of_the_image():
    boxes = [(0.0, 0.0, 37.0, 23.0), (18.5, 0.0, 37.0, 11.5)]
    parts = normalised(boxes, height=23, width=37, image_id=3)
    assert parts == [(0, 0, 1, 1), (0.5, 0, 1, 0.5)]


def test_boxes_are_cut_at_the_borders():
    boxes = [(-5.0, -1.0, 40.0, 11.5)]
    assert normalised(boxes, height=23, width=37, image_id=3) == [(0, 0, 1, 0.5)]


@pytest.mark.parametrize(
    "box", [(37.0, 2.0, 40.0, 5.0), (-4.0, 2.0, 0.0, 5.0), (2.0, 23.0, 5.0, 29.0), (2, -7, 5, 0)]
)
def test_a_box_outside_its_image_is_named(box):
    reason = r"^image a\.jpg is 37 pixels wide and 23 high, its box from \(.*\) lies outside; give"
    with pytest.raises(InputError, match=reason):
        normalised([box], height=23, width=37, image_id="a.jpg")


@given(
    st.tuples(*[st.floats(-50, 60)] * 2, *[st.floats(0.01, 100)] * 2),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_parts_are_always_within_the_image(box, height, width):
    x, y, w, h = box
    try:
        [(x0, y0, x1, y1)] = normalised(
            [(x, y, x + w, y + h)], height=height, width=width, image_id=1
        )
    except InputError:
        return
    assert 0 <= x0 <= x1 <= 1
    assert 0 <= y0 <= y1 <= 1


def test_sizes_of_listed_images(tmp_path):
    assert read_sizes(written(tmp_path, instances())) == {7: (23, 37), 3: (23, 37)}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "lists no 'images' with id, height and width; give one that does"),
        ({"images": []}, "lists no 'images' with id, height and width; give one that does"),
        ({"images": [{"id": 3}]}, "tells no height and width of images 3; add them in pixels"),
        ({"images": [{"id": 3, "height": 0, "width": 5}]}, "tells no height and width of images 3"),
        ({"images": [{"id": 3, "height": 2, "width": 5}] * 2}, "image ids more than once: 3; keep"),
        ({"images": [{"height": 2, "width": 5}]}, "image 1: expected id, a whole number or a text"),
    ],
)
def test_files_without_sizes_are_refused(tmp_path, content, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        read_sizes(written(tmp_path, content))
