"""Any valid image becomes upright RGB, resized as a whole."""

import numpy as np
import pytest
import torch
from pictures import (
    HEIGHT,
    RGB,
    WIDTH,
    exif,
    quadrants,
    ramp,
    stored_as,
    write_png,
)
from PIL import Image, features

from vlm.data.images import ImageGeometry, check_images, load_image


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "webp"])
def test_lossless_grey_comes_back_exactly(tmp_path, suffix):
    grey = Image.fromarray(ramp(HEIGHT, WIDTH))
    options = {"lossless": True} if suffix == "webp" else {}
    grey.save(tmp_path / f"a.{suffix}", **options)
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert loaded.mode == "RGB"
    assert np.array_equal(np.asarray(loaded), np.repeat(ramp(HEIGHT, WIDTH)[..., None], 3, axis=2))


def test_bilevel_is_black_and_white(tmp_path):
    Image.fromarray(ramp(HEIGHT, WIDTH) > 99).save(tmp_path / "a.png")
    expected = np.where(ramp(HEIGHT, WIDTH) > 99, 255, 0)
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.png"))[..., 1], expected)


def test_16_bit_grey_keeps_its_brightness(tmp_path):
    levels = ramp(HEIGHT, WIDTH).astype(np.uint16) * 257
    Image.fromarray(levels).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
    assert np.array_equal(np.asarray(load_image(tmp_path / "a.png"))[..., 2], ramp(HEIGHT, WIDTH))


def test_dark_16_bit_grey_stays_dark(tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH), 257, np.uint16)).save(tmp_path / "a.png")
    assert np.asarray(load_image(tmp_path / "a.png")).max() == 1


def test_16_bit_rgb_keeps_its_upper_bytes(tmp_path):
    row = np.array([[0, 128, 255], [17, 34, 51]]).astype(">u2") * 257
    path = write_png(tmp_path / "a.png", (3, 2), 16, RGB, row.astype(">u2").tobytes())
    assert np.asarray(load_image(path))[2].tolist() == [[0, 128, 255], [17, 34, 51]]


@pytest.mark.parametrize(("white", "dtype"), [(1.0, "f4"), (255.0, "f4"), (65535.0, "f4")])
def test_floating_point_tiff_is_read_by_its_own_scale(tmp_path, white, dtype):
    levels = np.linspace(0, white, HEIGHT * WIDTH).astype(dtype).reshape(HEIGHT, WIDTH)
    Image.fromarray(levels).save(tmp_path / "a.tif")
    pixels = np.asarray(load_image(tmp_path / "a.tif")).astype(int)[..., 0]
    assert np.abs(pixels - levels * 255 / white).max() <= 0.51


def test_floating_point_tiff_may_hold_nan_and_infinity(tmp_path):
    levels = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    levels[0, :3] = np.nan, np.inf, -np.inf
    Image.fromarray(levels).save(tmp_path / "a.tif")
    assert load_image(tmp_path / "a.tif").size == (WIDTH, HEIGHT)


def test_32_bit_integers_are_read_by_their_own_scale(tmp_path):
    for name, factor in (("byte", 1), ("word", 257), ("beyond", 2**20)):
        levels = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.int32).reshape(HEIGHT, WIDTH)
        Image.fromarray(levels * factor).save(tmp_path / f"{name}.tif")
        assert np.array_equal(np.asarray(load_image(tmp_path / f"{name}.tif"))[..., 0], levels)


def test_cmyk_jpeg_has_its_colours(tmp_path):
    Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    red = np.asarray(load_image(tmp_path / "a.jpg")).astype(int)
    assert np.abs(red - [255, 0, 0]).max() <= 3


def test_palette_png_with_transparency_lies_over_white(tmp_path):
    image = Image.new("P", (WIDTH, HEIGHT), 1)
    image.putpalette([0, 0, 0, 10, 200, 30, 7, 7, 7])
    image.putpixel((5, 2), 0)
    image.save(tmp_path / "a.png", transparency=0)
    loaded = load_image(tmp_path / "a.png")
    assert loaded.getpixel((5, 2)) == (255, 255, 255)
    assert loaded.getpixel((2, 5)) == (10, 200, 30)


def test_transparent_colour_of_an_rgb_png_lies_over_white(tmp_path):
    image = Image.new("RGB", (WIDTH, HEIGHT), (10, 20, 30))
    image.putpixel((5, 2), (1, 2, 3))
    image.save(tmp_path / "a.png", transparency=(1, 2, 3))
    loaded = load_image(tmp_path / "a.png")
    assert loaded.getpixel((5, 2)) == (255, 255, 255)
    assert loaded.getpixel((2, 5)) == (10, 20, 30)


@pytest.mark.parametrize(("mode", "dark"), [("LA", (40,)), ("RGBA", (40, 40, 40))])
def test_alpha_mixes_with_white(tmp_path, mode, dark):
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*dark, alpha))
    image.save(tmp_path / "a.png")
    levels = np.asarray(load_image(tmp_path / "a.png"))[0, :, 0].tolist()
    assert levels == [255, pytest.approx(40 * 128 / 255 + 255 * 127 / 255, abs=1), 40]


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "a.gif").getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tif", "webp"])
def test_one_pixel_is_an_image(tmp_path, suffix):
    Image.new("RGB", (1, 1), "white").save(tmp_path / f"a.{suffix}")
    tensor = ImageGeometry(5, 7).load(tmp_path / f"a.{suffix}")
    assert tensor.shape == (3, 5, 7)
    assert tensor.min() >= 253


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_turned_upright(tmp_path, orientation):
    upright = Image.fromarray(ramp(HEIGHT, WIDTH, 3))
    for suffix in ("png", "tif", "webp"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        stored_as(upright, orientation).save(path, exif=exif(orientation), **options)
        assert np.array_equal(np.asarray(load_image(path)), np.asarray(upright)), suffix


def test_geometry_resizes_without_cropping():
    resized = ImageGeometry(13, 29)(quadrants(HEIGHT * 10, WIDTH * 10))
    assert resized.shape == (3, 13, 29)
    assert resized.dtype == torch.uint8
    assert resized[:, [0, 0, -1, -1], [0, -1, 0, -1]].T.tolist() == [
        [0, 0, 0],
        [0, 255, 0],
        [255, 0, 0],
        [255, 255, 0],
    ]
    assert resized[0, :6].max() == resized[1, :, :13].max() == 0


def test_geometry_uses_the_interpolation_asked_for():
    image = Image.fromarray(ramp(HEIGHT, WIDTH, 3))
    for name in ("bilinear", "bicubic", "nearest", "lanczos"):
        expected = np.asarray(image.resize((7, 11), Image.Resampling[name.upper()]))
        assert np.array_equal(ImageGeometry(11, 7, name)(image).permute(1, 2, 0), expected)


def test_real_photos_load(shared):
    paths = sorted((shared / "data/coco/images").glob("*.jpg"))[:10]
    paths += sorted((shared / "data/flickr8k/images").glob("*.jpg"))[:10]
    check_images(paths, origin="the photos")
    tensors = torch.stack([ImageGeometry(31, 37).load(path) for path in paths])
    assert tensors.shape == (20, 3, 31, 37)
    assert (tensors.float().std(dim=(1, 2, 3)) > 10).all()


def test_pil_has_the_codecs_that_are_promised():
    assert features.check("jpg")
    assert features.check("webp")
    assert features.check("libtiff")
