"""Published HDF5 files of features: both layouts, and damage told in one sentence."""

import importlib
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import BOXES, PARTS, SIZE, WIDTH, features

from vlm.data.imports import read_features
from vlm.errors import InputError

h5py: Any = importlib.import_module("h5py")


def hdf5(folder: Path, content: dict[str, Any], name: str = "features.hdf5") -> Path:
    with h5py.File(folder / name, "w") as tree:
        for key, array in content.items():
            tree[key] = array
    return folder / name


def m2(*keys: int) -> dict[str, Any]:
    """As coco_detections.hdf5 has them."""
    content: dict[str, Any] = {}
    for key in keys:
        content |= {f"{key}_features": features(key), f"{key}_boxes": BOXES}
        content[f"{key}_cls_prob"] = np.zeros((3, 5))
    return content


def test_m2_transformer(tmp_path):
    images = list(read_features(hdf5(tmp_path, m2(100, 9)), sizes={9: SIZE, 100: SIZE}))
    assert [image.image_id for image in images] == [9, 100]
    np.testing.assert_array_equal(images[0].features, features(9))
    np.testing.assert_allclose(images[0].boxes, PARTS, atol=1e-6)
    assert images[0][4:] == SIZE


@pytest.mark.parametrize("size", [np.array([SIZE]), np.array(SIZE)])
def test_dlct_counts_boxes_in_a_size_of_its_own(tmp_path, size):
    content = m2(9) | {"9_size": size * 2, "9_boxes": BOXES * 2, "9_grids": np.zeros((49, WIDTH))}
    [image] = read_features(hdf5(tmp_path, content), sizes={"9": SIZE})
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)
    assert image[4:] == SIZE
    [image] = read_features(tmp_path / "features.hdf5")
    np.testing.assert_allclose(image.boxes, PARTS, atol=1e-6)
    assert image[4:] == (0, 0)


def test_features_without_boxes_have_the_whole_image(tmp_path):
    [image] = read_features(hdf5(tmp_path, {"9_features": features(9)}, "features.h5"))
    assert image.boxes.tolist() == [[0, 0, 1, 1]] * 3


def spatial() -> np.ndarray:
    return np.concatenate([PARTS, PARTS[:, 2:] - PARTS[:, :2]], axis=1)


def test_bottom_up_attention_vqa_has_a_number_of_boxes(tmp_path):
    arrays = {"image_features": [features(1), features(2)], "image_bb": [BOXES] * 2}
    file = hdf5(tmp_path, {**arrays, "spatial_features": [spatial()] * 2}, "train36.hdf5")
    # Python 2 wrote it.
    (tmp_path / "train36_imgid2idx.pkl").write_bytes(pickle.dumps({42: 1, 9: 0}, protocol=2))
    first, second = read_features(file)
    assert (first.image_id, second.image_id) == (9, 42)
    np.testing.assert_array_equal(second.features, features(2))
    np.testing.assert_array_equal(second.boxes, PARTS)


@pytest.mark.parametrize("ids", ["image_ids", "texts", "pickle", "json"])
def test_ban_has_as_many_boxes_as_there_are(tmp_path, ids):
    content: dict[str, Any] = {
        "image_features": np.concatenate([features(1), features(2, 1)]),
        "image_bb": np.concatenate([BOXES, BOXES[:1]]),
        "pos_boxes": np.array([[0, 3], [3, 4]], np.int32),
    }
    if ids == "image_ids":
        content["image_ids"] = [9, 42]
    elif ids == "texts":
        content["image_ids"] = [b"000000000009", b"42"]
    elif ids == "pickle":
        (tmp_path / "features_imgid2idx.pkl").write_bytes(pickle.dumps({9: 0, 42: 1}))
    else:
        (tmp_path / "features_imgid2idx.json").write_text(json.dumps({"9": 0, "42": 1}))
    first, second = read_features(hdf5(tmp_path, content), sizes={9: SIZE, 42: SIZE})
    assert (first.image_id, second.image_id) == (9, 42)
    np.testing.assert_array_equal(first.features, features(1))
    np.testing.assert_allclose(first.boxes, PARTS, atol=1e-6)
    np.testing.assert_array_equal(second.features, features(2, 1))


FLAT = {"image_features": features(1), "image_bb": BOXES, "pos_boxes": [[0, 3]], "image_ids": [9]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (m2(9), "image 9 has boxes in pixels and no size; give the sizes of the images, as a COCO"),
        ({"a": 1, "b": 2}, "holds a, b; expected entries ID_features and ID_boxes, or image_feat"),
        ({}, "holds nothing; expected entries ID_features"),
        ({"9_features/a": 1}, "/9_features is a group, expected an array; write it again"),
        ({"image_features/a": 1}, "/image_features is a group, expected an array; write it again"),
        ({"9_features": features(1) * np.nan}, "image 9 has features that are not finite; write"),
        (
            {"9_features": features(1), "9_size": [1, 2, 3]},
            r"expected a size \(height, width\), got",
        ),
        (
            m2(9) | {"9_boxes": BOXES[:2], "9_size": SIZE},
            r"expected boxes \(3, 4\) for its 3 region",
        ),
        (m2(9) | {"9_size": (0, 5)}, "is 5 by 0 pixels; give its real size"),
        (m2(9) | {"9_size": SIZE[::-1]}, r"boxes beyond its 23 by 37 pixels \(width by height\)"),
        (
            {**FLAT, "image_features": [FLAT["image_features"]]},
            r"expected image_features \(images,",
        ),
        ({**FLAT, "image_bb": BOXES[:2]}, r"expected boxes \(3, 4\), got \(2, 4\); write it again"),
        ({**FLAT, "pos_boxes": [[0, 4]]}, "image 9: its regions are 0 to 4 of 3; write the file"),
        ({**FLAT, "pos_boxes": [[2, 2]]}, "image 9: its regions are 2 to 2 of 3; write the file"),
        ({**FLAT, "image_ids": [9, 42]}, "has 1 images and 2 ids that do not match them; fetch"),
        (
            {name: FLAT[name] for name in ("image_features", "image_bb", "pos_boxes")},
            "does not tell its images' ids: it has no image_ids, and neither "
            r"features_imgid2idx\.pkl nor features_imgid2idx\.json is beside it; put one there",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_sentence(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason) as told:
        list(read_features(hdf5(tmp_path, content)))
    assert "\n" not in str(told.value)
    assert "features.hdf5" in str(told.value)


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ({9: 1}, "has 1 images and 1 ids that do not match them; fetch both again"),
        ({9: 0, 42: 0}, "has 1 images and 2 ids that do not match them; fetch both again"),
        ({}, "has 1 images and 0 ids that do not match them; fetch both again"),
        ([9], r"features_imgid2idx\.pkl is no index; expected the place of each image by its id"),
        ({9: "a"}, r"features_imgid2idx\.pkl is no index; expected the place of each image"),
        ({9: Path()}, r"features_imgid2idx\.pkl is no pickle of plain values and arrays, or was"),
    ],
)
def test_an_index_that_does_not_fit_is_told(tmp_path, index, reason):
    file = hdf5(tmp_path, {name: array for name, array in FLAT.items() if name != "image_ids"})
    (tmp_path / "features_imgid2idx.pkl").write_bytes(pickle.dumps(index))
    with pytest.raises(InputError, match=reason):
        list(read_features(file))


@pytest.mark.parametrize("cut", [0, 100, 2000, -500])
def test_a_file_that_is_cut_off(tmp_path, cut):
    file = hdf5(tmp_path, m2(*range(1, 40)))
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match=f"^{re.escape(str(file))} is no whole HDF5 file; it may"):
        list(read_features(file))


def test_without_h5py_the_remedy_is_named_at_once(tmp_path, monkeypatch):
    file = hdf5(tmp_path, m2(9))

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("vlm.data.imports.hdf5.importlib.import_module", absent)
    with pytest.raises(
        InputError, match=r"is HDF5, which needs h5py; run pip install vlm\[hdf5\]$"
    ):
        read_features(file)
