"""An image that cannot be used is named in one sentence, all of a set at once."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import (
    HEIGHT,
    WIDTH,
    exif,
    ramp,
)
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vlm.data.folders import list_images
from vlm.data.images import ImageGeometry, check_image, check_images, load_image
from vlm.errors import InputError


def _half(path: Path) -> None:
    Image.fromarray(ramp(59, 61, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text_bomb(path: Path) -> None:
    """A header that unpacks to more text than PIL allows, which it tells by a ValueError."""
    notes = PngInfo()
    notes.add_text("note", "x" * 2**21, zip=True)
    Image.new("RGB", (3, 5)).save(path, pnginfo=notes)


BAD = {
    "gone.jpg": (lambda _: None, "does not exist; check the path"),
    "half.jpg": (_half, r"cannot be read \(.*truncated.*\); restore or remove it"),
    "half.png": (_half, r"cannot be read \(.*truncated.*\); restore or remove it"),
    "half.bmp": (_half, r"cannot be read \(.*truncated.*\); restore or remove it"),
    "half.gif": (_half, r"cannot be read \(.*truncated.*\); restore or remove it"),
    "half.tif": (_half, r"cannot be read \(.*\); restore or remove it"),
    "half.webp": (
        _half,
        r"cannot be read \(could not create decoder object\); restore or remove it",
    ),
    "bomb.png": (_text_bomb, r"cannot be read \(.*too large.*\); restore or remove it"),
    "zero.jpg": (Path.touch, "is empty; restore, convert or remove it"),
    "text.jpg": (
        lambda path: path.write_text("no picture"),
        "is not an image that can be read; restore, convert or remove it",
    ),
    "folder.jpg": (Path.mkdir, r"cannot be read \(Is a directory\); restore or remove it"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("door", [load_image, check_image, ImageGeometry(3, 5).load])
def test_a_bad_image_is_told_in_one_sentence(tmp_path, name, door):
    make, reason = BAD[name]
    make(tmp_path / name)
    expected = f"^image {re.escape(str(tmp_path / name))} {reason}$"
    with pytest.raises(InputError, match=expected):
        door(tmp_path / name)


def _a_few_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    for position in rng.integers(0, len(content), 9):
        damaged[position] = rng.integers(256)
    return bytes(damaged)


@pytest.mark.filterwarnings("ignore")  # PIL warns of some damage before it refuses it
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp"])
@pytest.mark.parametrize(
    "damage", [_a_few_bytes, lambda content, rng: content[: rng.integers(len(content))]]
)
def test_damage_never_escapes_as_another_error(tmp_path, suffix, damage: Callable):
    path, rng = tmp_path / f"a.{suffix}", np.random.default_rng(5)
    Image.fromarray(ramp(HEIGHT, WIDTH, 3)).save(path, exif=exif(6))
    content, refused, passed = path.read_bytes(), 0, 0
    for _ in range(40):
        path.write_bytes(damage(content, rng))
        try:
            load_image(path, ImageGeometry(3, 5))
        except InputError as error:
            refused += "\n" not in str(error)
        else:
            passed += 1
    assert refused > 0
    assert refused + passed == 40


def test_all_bad_images_of_a_set_are_named_at_once(tmp_path):
    Image.new("RGB", (3, 5)).save(tmp_path / "good.png")
    for name, (make, _) in BAD.items():
        make(tmp_path / name)
    paths = [tmp_path / "good.png", *(tmp_path / name for name in BAD)]
    with pytest.raises(InputError) as told:
        check_images(paths, origin="the train split")
    text = str(told.value)
    assert text.startswith(f"{len(BAD)} of {len(BAD) + 1} images of the train split cannot be used")
    assert all(str(tmp_path / name) in text for name in BAD)
    assert "good.png" not in text


@pytest.mark.parametrize(("bad", "more"), [(20, None), (21, "and 1 more"), (47, "and 27 more")])
def test_only_twenty_bad_images_are_spelt_out(tmp_path, bad, more):
    paths = [tmp_path / f"{number}.jpg" for number in range(bad)]
    with pytest.raises(InputError, match=f"^{bad} of {bad} images") as told:
        check_images(paths, origin="a set")
    assert str(told.value).count("does not exist") == 20
    assert str(told.value).endswith(more or "19.jpg does not exist; check the path")


def test_a_good_set_passes(tmp_path):
    for suffix in ("png", "jpg", "gif", "tif", "webp", "bmp"):
        Image.new("RGB", (3, 5)).save(tmp_path / f"a.{suffix}")
    check_images(tmp_path.iterdir(), origin="a set")


def test_a_jpeg_with_a_long_trailer_passes(tmp_path):
    """Some cameras write more after the end of the image."""
    Image.new("RGB", (HEIGHT, WIDTH)).save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(bytes(1000))
    check_image(tmp_path / "a.jpg")


def test_a_folder_lists_its_images_by_name(tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == [tmp_path / name for name in ("a.png", "b.JPG", "sub/c.webp")]


def test_linked_folders_are_looked_into_once(tmp_path):
    for name in ("far/a.png", "here/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "here/link").symlink_to(tmp_path / "far")
    (tmp_path / "far/back").symlink_to(tmp_path / "here")  # round and round
    here = tmp_path / "here"
    assert list_images(here) == [here / "b.png", here / "link/a.png"]


def test_a_folder_without_images_is_told(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds no image; expected .*\.jpeg, \.jpg, \.png"):
        list_images(tmp_path)
    with pytest.raises(InputError, match=r"image folder .*gone does not exist; check the path$"):
        list_images(tmp_path / "gone")
