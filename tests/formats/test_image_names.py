"""The file of an image is found by every way it may be named, and a wrong template is told."""

import re
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.image_names import ImageNames


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


NAMES = [
    *((image_id, "000000000042.jpg") for image_id in (42, "42", "000042")),
    (42, "COCO_train2014_000000000042.jpg"),
    (42, "COCO_val2014_000000000042.jpg"),
    ("42", "COCO_test2015_000000000042.jpg"),
    (42, "train2014/COCO_train2014_000000000042.jpg"),
    (42, "val2014/COCO_val2014_000000000042.jpg"),
    (42, "test2015/COCO_test2015_000000000042.jpg"),
    (42, "train2017/000000000042.jpg"),
    ("42", "val2017/000000000042.jpg"),
    (42, "42"),
    (42, "42.jpg"),
    ("0042", "0042.png"),
    ("n02", "n02.jpeg"),
    ("sub/a.gif", "sub/a.gif"),
]


@pytest.mark.parametrize(("image_id", "name"), NAMES)
@pytest.mark.parametrize("template", [None, "image{image_id}.jpg"])
def test_an_image_is_found_by_its_id(tmp_path, image_id, name, template):
    made(tmp_path, name)
    assert ImageNames(tmp_path, template).path(image_id) == tmp_path / name


@pytest.mark.parametrize(
    ("template", "image_id", "name"),
    [
        ("image{image_id}.jpg", 42, "image42.jpg"),
        ("image{image_id}.jpg", "0042", "image0042.jpg"),
        ("{image_id:06d}.jpg", 42, "000042.jpg"),
        ("{image_id:06d}.jpg", "42", "000042.jpg"),
        ("{image_id:06d}.jpg", "0000042", "000042.jpg"),
        ("{image_id:>6s}.jpg", 42, "    42.jpg"),
        ("{image_id}/{image_id}.jpg", "a", "a/a.jpg"),
        ("{{}}{image_id}", "a", "{}a"),
    ],
)
def test_a_template_names_the_file(tmp_path, template, image_id, name):
    assert ImageNames(tmp_path / "absent", template).path(image_id) == tmp_path / "absent" / name
    made(tmp_path, name, "000000000042.jpg", "a")
    assert ImageNames(tmp_path, template).path(image_id) == tmp_path / name


def test_the_first_name_stays_where_no_file_is(tmp_path):
    made(tmp_path, "COCO_val2014_000000000001.jpg", "other.txt")
    names = ImageNames(tmp_path)
    assert names.path(1).name == "COCO_val2014_000000000001.jpg"
    assert names.path(2).name == "000000000002.jpg"  # not the name that fitted the last image
    assert names.path("a").name == "a"
    assert names.path(2, "own.jpg").name == "own.jpg"
    assert ImageNames(tmp_path, "image{image_id}.jpg").path(2).name == "image2.jpg"
    assert names.path("b" * 300).name == "b" * 300  # longer than a file's name can be


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "42").mkdir()
    made(tmp_path, "42.png")
    assert ImageNames(tmp_path).path(42) == tmp_path / "42.png"


def test_a_given_name_comes_first(tmp_path):
    made(tmp_path, "own.jpg", "image42.jpg", "000000000042.jpg", "000000000007.jpg")
    names = ImageNames(tmp_path, "image{image_id}.jpg")
    assert names.path(42).name == "image42.jpg"
    assert names.path(42, "own.jpg").name == "own.jpg"
    assert names.path(42, "gone.jpg").name == "image42.jpg"
    assert names.path(7, "gone.jpg").name == "000000000007.jpg"


def test_styles_may_be_mixed(tmp_path):
    files = ["000000000001.jpg", "2.png", "000000000003.jpg", "val2017/000000000004.jpg", "5.png"]
    made(tmp_path, *files)
    names = ImageNames(tmp_path)
    assert [names.path(number) for number in range(1, 6)] == [tmp_path / name for name in files]


def count_looks(monkeypatch: pytest.MonkeyPatch, names: ImageNames) -> list[str]:
    looks: list[str] = []
    inner = ImageNames._holds

    def holds(self: ImageNames, name: str) -> bool:
        looks.append(name)
        return inner(self, name)

    monkeypatch.setattr(ImageNames, "_holds", holds)
    return looks


def test_images_named_alike_cost_one_look_each(tmp_path, monkeypatch):
    made(tmp_path, *(f"COCO_test2015_{number:012d}.jpg" for number in range(50)))
    names = ImageNames(tmp_path)
    names.path(0)
    looks = count_looks(monkeypatch, names)
    assert all(names.path(number).is_file() for number in range(1, 50))
    assert len(looks) == 49


def test_a_folder_that_is_not_there_costs_no_look(tmp_path, monkeypatch):
    names = ImageNames(tmp_path / "absent", "image{image_id}.jpg")
    looks = count_looks(monkeypatch, names)
    assert names.path(3).name == "image3.jpg"
    assert names.path(3, "own.jpg").name == "own.jpg"
    assert looks == []


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("image.jpg", ""),
        ("{}.jpg", ""),
        ("{0}.jpg", ""),
        ("{split}/{image_id}.jpg", ""),
        ("{image_id.real}.jpg", ""),
        ("{image_id:{width}}.jpg", ""),
        ("{image_id.jpg", " (expected '}' before end of string)"),
        ("image_id}.jpg", " (Single '}' encountered in format string)"),
    ],
)
def test_a_template_with_another_field_is_told(tmp_path, template, reason):
    end = "" if reason else ", with no other field"
    expected = (
        f"expected a name with {{image_id}} as image_name, got {template!r}{reason}; "
        f"write image{{image_id}}.jpg, say{end}"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        ImageNames(tmp_path, template)


@pytest.mark.parametrize(
    ("template", "image_id"),
    [
        ("{image_id:012d}.jpg", "cat_7"),
        ("{image_id:012q}.jpg", 7),
        ("{image_id:c}.jpg", 0x110000),  # one more than the last character
    ],
)
def test_a_template_that_does_not_fit_an_id_is_told(tmp_path, template, image_id):
    expected = (
        f"image_name {template!r} cannot name image {image_id}; "
        "give one that fits all ids, {image_id}.jpg say"
    )
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
            ImageNames(folder, template).path(image_id)
