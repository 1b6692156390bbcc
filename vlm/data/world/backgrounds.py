"""Paints the backgrounds of the built-in world: pale, textured, never twice the same."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Painter = Callable[[Image.Image, np.random.Generator], Image.Image]


def paint_background(
    kind: str, rng: np.random.Generator, *, height: int, width: int
) -> NDArray[np.float32]:
    """An empty picture.

    Args:
        kind: one of `vlm.data.world.scene.BACKGROUNDS`.
        rng: makes its texture.
        height: in pixels.
        width: in pixels.

    Returns:
        ``(height, width, 3)`` RGB in [0, 255].
    """
    top, bottom, painter = _BACKGROUNDS[kind]
    fade = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    slope = (1 - fade) * np.array(top) + fade * np.array(bottom)
    ground = np.broadcast_to(slope, (height, width, 3)).astype(np.uint8)
    picture = painter(Image.fromarray(ground), rng)
    daylight = np.float32(rng.uniform(0.93, 1.04))
    return np.asarray(picture, dtype=np.float32) * daylight


def _grass(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blades of grass in two tones."""
    pen = ImageDraw.Draw(picture)
    count = picture.width * picture.height // 70
    x, y = rng.uniform(0, picture.width, count), rng.uniform(0, picture.height + 4, count)
    lean, length = rng.uniform(-2, 2, count), rng.uniform(3, 7, count)
    for n, (x0, y0, x1, y1) in enumerate(zip(x, y, x + lean, y - length, strict=True)):
        pen.line([x0, y0, x1, y1], fill=((137, 176, 106), (176, 207, 144))[n % 2])
    return picture


def _sand(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Grains, and the ripples that wind leaves."""
    rows, columns = np.mgrid[: picture.height, : picture.width].astype(np.float32)
    bend, phase = rng.uniform(1, 3), rng.uniform(0, 6.28, size=2)
    ripples = np.sin(rows / 2.6 + bend * np.sin(columns / 23 + phase[0]) + phase[1])
    grains = rng.normal(0, 4, size=rows.shape)
    shade = (3.5 * ripples + grains)[..., None]
    return Image.fromarray(np.clip(np.asarray(picture) + shade, 0, 255).astype(np.uint8))


def _sky(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """White clouds, each a few soft puffs."""
    clouds = Image.new("L", picture.size)
    pen = ImageDraw.Draw(clouds)
    for _ in range(max(2, picture.width // 36)):
        x, y = rng.uniform(0, picture.width), rng.uniform(0, picture.height)
        for dx, dy, r in rng.uniform([-14, -2, 3], [14, 3, 7], size=(6, 3)):
            pen.ellipse([x + dx - 1.5 * r, y + dy - r, x + dx + 1.5 * r, y + dy + r], fill=210)
    picture.paste((255, 255, 255), mask=clouds.filter(ImageFilter.BoxBlur(2)))
    return picture


def _night(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Points of light."""
    pixels = np.array(picture)
    count = picture.width * picture.height // 300
    rows, columns = (
        rng.integers(picture.height, size=count),
        rng.integers(picture.width, size=count),
    )
    pixels[rows, columns] = rng.integers(120, 236, size=(count, 1))
    return Image.fromarray(pixels)


def _wall(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bricks, every other course shifted by half a brick."""
    pen = ImageDraw.Draw(picture)
    shift_x, shift_y = rng.integers(20), rng.integers(9)
    for course, y in enumerate(range(-int(shift_y), picture.height, 9)):
        for x in range(-int(shift_x) - 10 * (course % 2), picture.width, 20):
            tone = _tone((188, 142, 126), rng, spread=9)
            pen.rectangle([x, y, x + 18, y + 7], fill=tone)
    return picture


def _floor(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Planks with grain, butted at random."""
    pen = ImageDraw.Draw(picture)
    shift = int(rng.integers(16))
    for y in range(-shift, picture.height, 16):
        joint = int(rng.integers(picture.width))
        for left, right in ((0, joint - 1), (joint, picture.width)):
            tone = _tone((206, 172, 130), rng, spread=8)
            pen.rectangle([left, y, max(left, right - 1), y + 14], fill=tone)
        for grain in rng.integers(2, 13, size=3):
            start, length = rng.integers([-20, 30], [picture.width, 90])
            pen.line([start, y + grain, start + length, y + grain], fill=(190, 154, 112))
    return picture


def _tone(colour: Colour, rng: np.random.Generator, *, spread: int) -> Colour:
    """The colour, a little darker or lighter."""
    shift = int(rng.integers(-spread, spread + 1))
    return colour[0] + shift, colour[1] + shift, colour[2] + shift


# Top colour, bottom colour, and the painter of what goes on top.
_BACKGROUNDS: dict[str, tuple[Colour, Colour, Painter]] = {
    "grass": ((170, 203, 138), (146, 186, 116), _grass),
    "sand": ((238, 222, 188), (226, 205, 164), _sand),
    "sky": ((150, 198, 236), (212, 232, 246), _sky),
    "night": ((26, 30, 62), (58, 54, 100), _night),
    "wall": ((220, 206, 196), (220, 206, 196), _wall),
    "floor": ((160, 124, 86), (160, 124, 86), _floor),
}
