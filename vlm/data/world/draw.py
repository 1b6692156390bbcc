"""Draws scenes: anti-aliased shapes with patterns and soft shadows, and their instance masks."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vlm.data.world.backgrounds import paint_background
from vlm.data.world.scene import Scene, SceneObject
from vlm.data.world.shapes import outline, turned

GROUND = {
    "red": (214, 38, 46),
    "orange": (250, 132, 24),
    "yellow": (253, 215, 48),
    "green": (40, 156, 74),
    "blue": (38, 96, 214),
    "purple": (126, 58, 176),
    "pink": (250, 142, 192),
    "white": (250, 250, 248),
}
DARK_INK = {"yellow": (190, 124, 8), "pink": (196, 60, 130), "white": (132, 138, 152)}
LIGHT_INK = (255, 242, 224)
SUPERSAMPLING = 4
RIM = 0.45
SHADOW, SHADOW_SHIFT = 0.4, 2  # depth in [0, 1]; pixels to the right and down

Plane = NDArray[np.floating]


def draw(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The picture of a scene, and where in it each object is.

    Returns:
        the picture ``(height, width, 3)``, RGB; and one mask an object ``(objects, height,
        width)``, in the scene's order.
    """
    rng = np.random.default_rng([scene.seed, 0])
    canvas = paint_background(scene.background, rng, height=scene.height, width=scene.width)
    masks = np.zeros((len(scene.objects), scene.height, scene.width), dtype=bool)
    for mask, thing in zip(masks, scene.objects, strict=True):
        _paint(thing, canvas, mask)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), masks


def _paint(thing: SceneObject, canvas: Plane, mask: NDArray[np.bool_]) -> None:
    """Paint an object and its shadow onto the canvas, and enter it in its mask."""
    half = math.ceil(1.4 * thing.radius) + 2 * SHADOW_SHIFT
    left, top = round(thing.x) - half, round(thing.y) - half
    rows = slice(max(top, 0), min(top + 2 * half, canvas.shape[0]))
    columns = slice(max(left, 0), min(left + 2 * half, canvas.shape[1]))
    inside = (
        slice(rows.start - top, rows.stop - top),
        slice(columns.start - left, columns.stop - left),
    )
    centre = thing.x - left, thing.y - top
    cover, rim = _stencils(thing, centre, side=2 * half)
    face = _face(thing, centre, side=2 * half) * (1 - RIM * rim)[..., None]
    patch = canvas[rows, columns]
    patch *= 1 - _shadow(cover)[inside][..., None]
    patch += cover[inside][..., None] * (face[inside] - patch)
    mask[rows, columns] = cover[inside] > 0.5


def _stencils(thing: SceneObject, centre: tuple[float, float], *, side: int) -> tuple[Plane, Plane]:
    """How much of each pixel of a square patch the object covers, and its rim, in [0, 1]."""
    large = (side * SUPERSAMPLING, side * SUPERSAMPLING)
    cover, rim = Image.new("L", large), Image.new("L", large)
    for fill, loop in zip((255, 0), outline(thing.shape), strict=False):
        points = (turned(loop, thing.tilt) * thing.radius + centre) * SUPERSAMPLING - 0.5
        corners = [(x, y) for x, y in points.tolist()]
        ImageDraw.Draw(cover).polygon(corners, fill=fill)
        ImageDraw.Draw(rim).line([*corners, corners[0]], fill=255, width=2 * SUPERSAMPLING)
    return _reduced(cover), _reduced(rim)


def _reduced(stencil: Image.Image) -> Plane:
    return np.asarray(stencil.reduce(SUPERSAMPLING), dtype=np.float32) / 255


def _shadow(cover: Plane) -> Plane:
    """A soft shadow to the lower right, in [0, `SHADOW`]."""
    stencil = Image.fromarray((cover * 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(1.5))
    shade = np.asarray(stencil, dtype=np.float32) * np.float32(SHADOW / 255)
    return np.roll(shade, (SHADOW_SHIFT, SHADOW_SHIFT), axis=(0, 1))


def _face(thing: SceneObject, centre: tuple[float, float], *, side: int) -> Plane:
    """The surface of an object as if it filled the patch, ``(side, side, 3)``, lit from above."""
    angle = math.radians(thing.tilt)
    cosine, sine = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    x = np.arange(side, dtype=np.float32) + np.float32(0.5 - centre[0])
    y = np.arange(side, dtype=np.float32)[:, None] + np.float32(0.5 - centre[1])
    across, along = cosine * x + sine * y, cosine * y - sine * x
    ground = np.array(GROUND[thing.colour], dtype=np.float32)
    ink = np.array(DARK_INK.get(thing.colour, LIGHT_INK), dtype=np.float32)
    share = _pattern(thing.material, across, along, period=2.4 + 0.34 * thing.radius)[..., None]
    light = 1 - np.float32(0.1 / thing.radius) * (x + y)[..., None]
    return (ground + share * (ink - ground)) * light


def _pattern(material: str, across: Plane, along: Plane, *, period: float) -> Plane:
    """How much of each pixel is ink rather than ground, in [0, 1]."""
    match material:
        case "striped":
            return _bars((across + along) * np.float32(math.sqrt(0.5)), period, share=0.42)
        case "checkered":
            rows, columns = (_bars(axis, 1.7 * period, share=0.5) for axis in (across, along))
            return rows * columns + (1 - rows) * (1 - columns)
        case "dotted":
            shift = 0.5 * (np.floor(along / period) % 2)
            distance = np.hypot((across / period + shift) % 1 - 0.5, along / period % 1 - 0.5)
            return np.clip((0.3 - distance) * period + 0.5, 0, 1)
        case _:
            return np.zeros_like(across)


def _bars(position: Plane, period: float, *, share: float) -> Plane:
    """Parallel bars that take a share of each period, with edges one pixel soft."""
    distance = np.abs(position / period % 1 - 0.5)
    return np.clip((share / 2 - distance) * period + 0.5, 0, 1)
