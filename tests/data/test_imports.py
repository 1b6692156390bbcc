"""Which layout a path has, and which id a name means."""

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import BOXES, bottom_up_line, features

from vlm.data.imports import ImportedImage, read_features
from vlm.data.imports.imported import image_id_of
from vlm.errors import InputError

h5py: Any = importlib.import_module("h5py")


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("42", 42),
        ("000000000042", 42),
        ("000000000042.jpg", 42),
        ("COCO_val2014_000000000042", 42),
        ("COCO_test2015_000000000042.jpg", 42),
        ("coco_train2014_000000000042", 42),
        ("nlvr2_dev-42-img0", "nlvr2_dev-42-img0"),
        ("a.jpg", "a.jpg"),
        ("a", "a"),
        ("COCO_val2014_42", "COCO_val2014_42"),
        ("٤٢", "٤٢"),
        ("1" * 40, "1" * 40),
    ],
)
def test_what_a_name_means(name, key):
    assert image_id_of(name) == key


@given(st.integers(0, 10**12 - 1))
def test_a_number_is_itself_in_every_spelling(number):
    for name in (str(number), f"{number:012}", f"COCO_train2014_{number:012}.jpg"):
        assert image_id_of(name) == number


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"^features .*gone\.tsv do not exist; check the path$"):
        read_features(tmp_path / "gone.tsv")


@pytest.mark.parametrize("name", ["features.pth", "features.csv", "features.npz", "tsv"])
def test_a_file_of_another_kind(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"is no file of features that can be read; give a \.tsv"):
        read_features(tmp_path / name)


def test_folders_without_features(tmp_path):
    with pytest.raises(InputError, match=r"holds no file; give a \.tsv or \.hdf5 file, a folder"):
        read_features(tmp_path)
    (tmp_path / "42.pth").touch()
    with pytest.raises(InputError, match=r"holds no features but 42\.pth; give a \.tsv or"):
        read_features(tmp_path)


def test_folders_of_two_kinds(tmp_path):
    np.save(tmp_path / "9.npy", features(9))
    (tmp_path / "features.tsv").write_text(bottom_up_line(42, features(1)))
    with pytest.raises(InputError, match=r"holds both features\.tsv and 9\.npy; give one of them"):
        read_features(tmp_path)


def test_an_import_is_what_it_says(tmp_path):
    (tmp_path / "features.tsv").write_text(bottom_up_line(42, features(1)))
    [image] = read_features(tmp_path / "features.tsv", sizes={42: (46, 74)})
    assert isinstance(image, ImportedImage)
    assert image.features.flags.writeable
    # What is told of the original stays, also where the boxes were found in another size.
    assert (image.height, image.width) == (46, 74)


@pytest.mark.filterwarnings("ignore")  # numpy warns of some damage before it refuses it
@pytest.mark.parametrize("name", ["features.tsv", "9.npz", "9.npy", "features.hdf5"])
def test_damage_never_escapes_as_another_error(tmp_path, name):
    file, rng, refused = tmp_path / name, np.random.default_rng(5), 0
    (tmp_path / "features.tsv").write_text(bottom_up_line(42, features(1)))
    np.savez(tmp_path / "9.npz", x=features(1), bbox=BOXES, image_h=23, image_w=37)
    np.save(tmp_path / "9.npy", features(1))
    with h5py.File(tmp_path / "features.hdf5", "w") as tree:
        tree["9_features"] = features(1)
    content = file.read_bytes()
    for number in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 5):
            damaged[place] = rng.integers(256)
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_bytes(damaged)
        try:
            list(read_features(folder))
        except InputError as error:
            refused += "\n" not in str(error)
    assert refused > 0
