"""Published folders of features, a numpy file an image: every layout, and damage told."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import BOXES, PARTS, SIZE, WIDTH, features

from vlm.data.imports import read_features
from vlm.errors import InputError
from vlm.regions import grid_boxes

HEIGHT_AND_WIDTH = {"image_h": SIZE[0], "image_w": SIZE[1]}


def npz(folder: Path, name: str, **arrays: Any) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def npy(folder: Path, name: str, content: Any) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    np.save(folder / f"{name}.npy", content, allow_pickle=True)


def test_bottom_up_attention_in_pytorch(tmp_path):
    info = {"image_id": "a", "objects_id": np.arange(3)}
    npz(tmp_path, "a", x=features(1), bbox=BOXES, num_bbox=3, info=info, **HEIGHT_AND_WIDTH)
    [image] = read_features(tmp_path)
    assert image.image_id == "a"
    np.testing.assert_array_equal(image.features, features(1))
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)
    assert image[4:] == SIZE


def test_openvqa_has_regions_in_columns(tmp_path):
    name = "COCO_val2014_000000000042.jpg"
    npz(tmp_path / "val2014", name, x=features(1).T, bbox=BOXES, num_bbox=3, **HEIGHT_AND_WIDTH)
    [image] = read_features(tmp_path)
    assert (image.image_id, image.file_name) == (42, name)
    np.testing.assert_array_equal(image.features, features(1))


def test_uniter_has_boxes_in_parts(tmp_path):
    parts = np.concatenate([PARTS, PARTS[:, 2:] - PARTS[:, :2]], axis=1)
    half = features(1).astype(np.float16)
    npz(tmp_path, "coco_train2014_000000000009", features=half, norm_bb=parts, conf=parts[:, 0])
    [image] = read_features(tmp_path, sizes={9: SIZE})
    assert (image.image_id, image.file_name) == (9, "COCO_train2014_000000000009.jpg")
    np.testing.assert_array_equal(image.features, half.astype(np.float32))
    np.testing.assert_array_equal(image.boxes, PARTS)
    assert image[4:] == SIZE


def test_image_captioning_pytorch_has_boxes_next_door(tmp_path):
    for key in (10, 9, 11):
        npz(tmp_path / "cocobu_att", str(key), feat=features(key))
        npy(tmp_path / "cocobu_box", str(key), BOXES)
    images = list(read_features(tmp_path / "cocobu_att", sizes=dict.fromkeys((9, 10, 11), SIZE)))
    assert [image.image_id for image in images] == [9, 10, 11]
    np.testing.assert_array_equal(images[0].features, features(9))
    np.testing.assert_allclose(images[0].boxes, PARTS, atol=1e-6)


def test_without_neighbours_a_region_has_the_whole_image(tmp_path):
    npz(tmp_path / "cocobu_att", "9", z=features(9))
    [image] = read_features(tmp_path / "cocobu_att")
    assert image.boxes.tolist() == [[0, 0, 1, 1]] * 3
    assert image[4:] == (0, 0)


@pytest.mark.parametrize("order", ["rows, columns, width", "width, rows, columns", "with a batch"])
def test_maps_have_the_boxes_of_their_cells(tmp_path, order):
    grid = np.random.default_rng(1).normal(size=(2, 3, WIDTH)).astype(np.float32)
    stored = {"rows, columns, width": grid, "width, rows, columns": grid.transpose(2, 0, 1)}
    npz(tmp_path, "9", feat=stored.get(order, grid[None]))
    [image] = read_features(tmp_path)
    np.testing.assert_array_equal(image.features, grid.reshape(6, WIDTH))
    np.testing.assert_array_equal(image.boxes, grid_boxes(2, 3).numpy())


def test_plain_arrays_are_regions_or_one(tmp_path):
    npy(tmp_path, "9", features(1))
    npy(tmp_path, "10", features(2)[0])
    first, second = read_features(tmp_path)
    np.testing.assert_array_equal(first.features, features(1))
    np.testing.assert_array_equal(second.features, features(2)[:1])


def test_mmf_has_its_boxes_in_a_pickle(tmp_path):
    info = {"bbox": BOXES, "num_boxes": 3, "objects": np.arange(3), "cls_prob": features(5)}
    npy(tmp_path, "COCO_val2014_000000000042", features(1))
    npy(tmp_path, "COCO_val2014_000000000042_info", {**info, "image_height": 23, "image_width": 37})
    [image] = read_features(tmp_path)
    assert image.image_id == 42
    np.testing.assert_array_equal(image.features, features(1))
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)
    assert image[4:] == SIZE


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_age_are_read(tmp_path, protocol):
    content = {"image_feat": features(1), "bbox": BOXES, "image_width": np.int64(37), "a": b"x"}
    npy(tmp_path, "9", {**content, "image_height": 23.0})
    header = (tmp_path / "9.npy").read_bytes()[:128]
    data = pickle.dumps(np.array({**content, "image_height": 23.0}, dtype=object), protocol)
    if protocol == 2:  # as numpy 1 called its module; later protocols count their bytes
        data = data.replace(b"numpy._core", b"numpy.core")
    (tmp_path / "9.npy").write_bytes(header + data)
    [image] = read_features(tmp_path)
    np.testing.assert_array_equal(image.features, features(1))
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)


class _Runs:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.folder,)


def test_nothing_in_a_pickle_runs(tmp_path):
    npy(tmp_path / "features", "9", {"features": features(1), "x": _Runs(str(tmp_path / "ran"))})
    with pytest.raises(InputError, match=r"9\.npy is no pickle of plain values and arrays, or was"):
        list(read_features(tmp_path / "features"))
    assert not (tmp_path / "ran").exists()


GOOD = {"x": features(1), "bbox": BOXES, **HEIGHT_AND_WIDTH}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": features(1), "b": BOXES}, "holds a, b, no features; expected one of features, feat"),
        ({}, "holds nothing, no features; expected one of features, feat, x"),
        ({**GOOD, "x": features(1, 5)}, r"expected boxes \(5, 4\) for its 5 regions, got \(3, 4\)"),
        ({**GOOD, "x": features(1) * np.inf}, "image 9 has features that are not finite; write"),
        ({**GOOD, "x": np.array(["a"])}, "expected x of numbers, got <U1; write them again"),
        (
            {**GOOD, "x": features(1)[None, None, None]},
            r"expected features \(regions, width\), got",
        ),
        ({"x": np.zeros((3, 3, 3))}, r"expected features .* got \(3, 3, 3\); reshape them"),
        ({"x": np.zeros((2, 9, 3))}, r"expected features .* got \(2, 9, 3\); reshape them"),
        ({"x": np.zeros((2, 2, 3, 9))}, r"expected features .* got \(2, 2, 3, 9\); reshape them"),
        ({"x": np.zeros((0, 9))}, r"expected features \(regions, width\), got \(0, 9\); write"),
        ({"x": features(1), "bbox": BOXES}, "has boxes in pixels and no size; give the sizes of"),
        ({**GOOD, "image_h": -23}, "expected image_h in pixels, got -23; write it again"),
        ({**GOOD, "image_h": [23, 37]}, r"expected image_h in pixels, got \[23 37\]; write it"),
        (
            {**GOOD, "image_h": 14},
            r"boxes beyond its 37 by 14 pixels \(width by height\); give the",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(tmp_path, content, reason):
    npz(tmp_path, "9", **content)
    with pytest.raises(InputError, match=reason) as told:
        list(read_features(tmp_path))
    assert "\n" not in str(told.value)
    assert "9.npz" in str(told.value)


def test_boxes_that_reach_a_little_beyond_are_cut(tmp_path):
    npz(tmp_path, "9", **{**GOOD, "bbox": BOXES + np.array([[-1, -1, 1, 1]])})
    [image] = read_features(tmp_path)
    assert image.boxes[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["9.npz", "9.npy", "9_info.npy"])
@pytest.mark.parametrize("cut", [0, 5, 60, 200, -3])
def test_files_that_are_cut_off(tmp_path, name, cut):
    if name == "9.npz":
        npz(tmp_path, "9", **GOOD)
    else:
        npy(tmp_path, "9", features(1))
        npy(tmp_path, "9_info", {"bbox": BOXES, "image_height": 23, "image_width": 37})
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match=re.escape(str(file))) as told:
        list(read_features(tmp_path))
    assert "\n" not in str(told.value)


def test_a_missing_neighbour_is_named(tmp_path):
    npz(tmp_path / "cocobu_att", "9", feat=features(9))
    npy(tmp_path / "cocobu_box", "10", BOXES)
    reason = r"9\.npz has no boxes: .*cocobu_box/9\.npy does not exist; restore it"
    with pytest.raises(InputError, match=reason):
        list(read_features(tmp_path / "cocobu_att"))


def test_one_image_in_two_folders_is_told(tmp_path):
    for folder in ("train", "val"):
        npz(tmp_path / folder, "9", x=features(9))
    with pytest.raises(InputError, match=r"val/9\.npz, image 9 comes a second time in .*, as id 9"):
        list(read_features(tmp_path))
