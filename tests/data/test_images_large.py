"""Images of up to 20,000 pixels a side: shrunk on the way, in bounded memory."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import (
    GREY,
    HEIGHT,
    PALETTE,
    RGB,
    WIDTH,
    exif,
    ramp,
    smooth,
    stored_as,
    write_png,
)
from PIL import Image

from vlm.data import images
from vlm.data.images import ImageGeometry, check_image, load_image
from vlm.errors import InputError


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_converting_strip_by_strip_changes_nothing(tmp_path, mode, monkeypatch):
    if mode == "I;16":
        image = Image.fromarray(ramp(HEIGHT, WIDTH).astype(np.uint16) * 257)
    elif mode == "I":  # bright at the bottom only: one scale for all strips
        image = Image.fromarray(np.sort(ramp(HEIGHT * WIDTH)).reshape(HEIGHT, WIDTH) * np.int32(5))
    else:
        image = Image.fromarray(ramp(HEIGHT, WIDTH, 3)).convert(mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.fromarray(ramp(HEIGHT, WIDTH)))
    path = tmp_path / ("a.tif" if mode in ("CMYK", "I", "F") else "a.png")
    image.save(path)
    whole = load_image(path)
    monkeypatch.setattr(images, "LARGE_IMAGE_PIXELS", 100)
    monkeypatch.setattr(images, "STRIP_PIXELS", 3 * WIDTH)
    assert np.array_equal(np.asarray(load_image(path)), np.asarray(whole))


def test_shrinking_first_gives_the_same_picture(shared, tmp_path, monkeypatch):
    """Within what two good resamplings differ by; a shift by one pixel would make it 13."""
    geometry, path = ImageGeometry(61, 67), tmp_path / "a.png"
    load_image(min((shared / "data/coco/images").glob("*.jpg"))).resize((1501, 1201)).save(path)
    expected = geometry(load_image(path)).float()
    assert torch.equal(geometry.load(path).float(), expected)
    monkeypatch.setattr(images, "LARGE_IMAGE_PIXELS", 1000)
    difference = (geometry.load(path).float() - expected).abs().mean()
    assert 0 < difference < 1
    shift = (expected[:, :, 1:] - expected[:, :, :-1]).abs().mean()
    assert shift > 10 * difference


@pytest.mark.parametrize("size", [(50, 20_000), (20_000, 50)])
@pytest.mark.parametrize("colour", [GREY, RGB, PALETTE])
def test_the_longest_side_works(tmp_path, size, colour):
    row = bytes(level % 256 for level in range(size[1] * (3 if colour == RGB else 1)))
    path = write_png(tmp_path / "a.png", size, 8, colour, row)
    check_image(path)
    assert load_image(path).size == size[::-1]
    assert ImageGeometry(11, 13).load(path).shape == (3, 11, 13)


@pytest.mark.parametrize("side", [1, 11])
def test_a_large_image_of_few_pixels_asked_for(tmp_path, side):
    """Beyond the size that PIL itself warns of, and shrunk by the largest factor."""
    path = write_png(tmp_path / "a.png", (9000, 20_000), 1, GREY, b"\xff" * 2500)
    assert ImageGeometry(side, side).load(path).min() == 255


@pytest.mark.parametrize("size", [(20_001, 1), (1, 20_001)])
def test_a_longer_side_is_refused(tmp_path, size):
    Image.new("1", size).save(tmp_path / "a.png")
    message = (
        f"image {tmp_path / 'a.png'} is {size[0]}x{size[1]} pixels, "
        "more than 20000 a side; scale it down"
    )
    for door in (load_image, check_image):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            door(tmp_path / "a.png")


# What loading adds to the process at its highest, in a process of its own.
PEAK = """
import sys
from vlm.data.images import ImageGeometry

def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) // 1024

before = peak()
ImageGeometry(224, 224).load(sys.argv[1])
print(peak() - before)
"""
SIDE = 20_000


def _plain_jpeg(path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE)).save(path)


def _turned_png(path: Path) -> None:
    Image.new("RGB", (SIDE, SIDE)).save(path, exif=exif(6), compress_level=1)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize(
    ("name", "write", "limit"),
    [
        # Mebibytes: the pixels as PIL holds them (1, 1, 2, 4, 4 bytes each), and 128 more. A
        # JPEG comes at an eighth of its size.
        ("grey.png", lambda path: write_png(path, (SIDE, SIDE), 8, GREY, bytes(SIDE)), 382 + 128),
        ("map.png", lambda path: write_png(path, (SIDE, SIDE), 8, PALETTE, bytes(SIDE)), 382 + 128),
        ("deep.png", lambda p: write_png(p, (SIDE, SIDE), 16, GREY, bytes(2 * SIDE)), 763 + 128),
        (
            "rgb.png",
            lambda path: write_png(path, (SIDE, SIDE), 8, RGB, bytes(3 * SIDE)),
            1526 + 128,
        ),
        ("turned.png", _turned_png, 1526 + 128),
        ("photo.jpg", _plain_jpeg, 128),
    ],
)
def test_memory_is_bounded(tmp_path, name, write, limit):
    write(tmp_path / name)
    command = [sys.executable, "-c", PEAK, str(tmp_path / name)]
    added = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert added < limit


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_a_large_rotated_image_keeps_the_pixels_it_needs(
    tmp_path, orientation, suffix, monkeypatch
):
    # Tall and narrow, and much more asked of its width than of its height: with the two
    # confused, an eighth of the width would be decoded, and a pattern of single pixels lost.
    monkeypatch.setattr(images, "LARGE_IMAGE_PIXELS", 1000)
    pixels = np.zeros((1600, 200, 3), np.uint8)
    pixels[:, ::4] = pixels[:, 1::4] = 255
    path = tmp_path / f"a.{suffix}"
    stored_as(Image.fromarray(pixels), orientation).save(path, exif=exif(orientation))
    stripes = ImageGeometry(25, 100, "box").load(path)[0, 5].float()
    assert stripes[::2].min() > 200
    assert stripes[1::2].max() < 55


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_resizing_keeps_the_whole_image_upright(tmp_path, orientation, suffix, monkeypatch):
    """Shrunk on the way or not; the sides are multiples of no factor."""
    upright = Image.fromarray(smooth(331, 467))
    path = tmp_path / f"a.{suffix}"
    stored_as(upright, orientation).save(path, exif=exif(orientation), quality=100)
    geometry = ImageGeometry(13, 17)
    expected = geometry(upright).int()
    assert (geometry.load(path).int() - expected).abs().max() <= 8
    monkeypatch.setattr(images, "LARGE_IMAGE_PIXELS", 1000)
    assert (geometry.load(path).int() - expected).abs().max() <= 8
