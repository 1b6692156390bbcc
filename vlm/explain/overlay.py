"""Attention maps drawn over the picture they belong to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vlm.formats.word_maps import WordMaps

# From night to daylight; lightness rises all the way, so that it reads in grey and for
# every kind of colour vision.
HEAT = np.array(
    [[8, 12, 40], [44, 40, 120], [150, 60, 110], [235, 120, 50], [255, 205, 90], [255, 250, 220]]
)
OPACITY = 0.65
PANEL = 360
"""Pixels: a panel's width; its height is a twelfth of that at least, three times at most."""
LEVELS = 255  # of a map before it is blurred


def panel_size(size: tuple[int, int], panel: int = PANEL) -> tuple[int, int]:
    """(width, height) of a panel for a picture of that (width, height)."""
    width, height = size
    return panel, min(max(panel // 12, round(panel * height / width)), 3 * panel)


def heat_maps(
    rows: NDArray, boxes: NDArray, size: tuple[int, int], *, same_scale: bool = False
) -> NDArray[np.float64]:
    """Weights of regions as smooth maps over the picture, one a word.

    Args:
        rows: ``(word, region)``, not negative.
        boxes: ``(region, 4)`` as x0 y0 x1 y1 in [0, 1].
        size: (width, height) of the picture in pixels.
        same_scale: whether one colour means the same in all maps; or else each has its own.

    Returns:
        ``(word, height, width)`` in [0, 1], the most attended place, of each or of all, being 1.
    """
    width, height = size
    across = _covered(boxes[:, 0] * width, boxes[:, 2] * width, width)
    down = _covered(boxes[:, 1] * height, boxes[:, 3] * height, height)
    sides = boxes[:, 2:] - boxes[:, :2]
    # The weight of a region is spread over its area, so that large boxes do not outshine.
    density = np.asarray(rows, dtype=np.float64) / np.prod(sides, axis=1).clip(1e-12)
    flat = (density[:, :, None] * down).transpose(0, 2, 1) @ across
    real = sides[np.prod(sides, axis=1) > 0]  # the others pad
    blur = ImageFilter.GaussianBlur(float(np.median(real * np.array([width, height]))) / 3)
    smooth = np.empty(flat.shape)
    scales = _hottest(flat, same_scale=same_scale)
    for index, values in enumerate(np.round(flat / scales * LEVELS).astype(np.uint8)):
        smooth[index] = np.asarray(Image.fromarray(values).filter(blur))
    return smooth / _hottest(smooth, same_scale=same_scale)


def is_grid(boxes: NDArray) -> bool:
    """Whether boxes ``(region, 4)`` are the cells of one regular grid over the whole image.

    Boxes without an area, which pad, are not looked at.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    real = (sides > 0).all(axis=1)
    corners = np.unique(boxes[real, :2].round(4), axis=0)
    even = bool(real.any()) and np.ptp(sides[real], axis=0).max() < 1e-3
    covered = np.prod(sides[real], axis=1).sum()
    return bool(even and len(corners) == real.sum() and abs(covered - 1) < 1e-2)


def overlay(picture: Image.Image, heat: NDArray) -> Image.Image:
    """A picture under its map.

    Args:
        picture: RGB.
        heat: ``(height, width)`` of the picture, in [0, 1].
    """
    position = heat * (len(HEAT) - 1)
    channels = [np.interp(position, np.arange(len(HEAT)), HEAT[:, c]) for c in range(3)]
    colours = np.stack(channels, axis=-1)
    grey = np.asarray(picture.convert("L").convert("RGB"), dtype=np.float64)
    mixed = (1 - OPACITY) * grey + OPACITY * colours
    return Image.fromarray(mixed.round().astype(np.uint8))


def strip(
    picture: Image.Image,
    maps: WordMaps,
    *,
    panel: int = PANEL,
    columns: int = 8,
    same_scale: bool = False,
) -> Image.Image:
    """The picture, then one panel a word with where that word looked.

    Where regions are no regular grid, the box that was attended to most is drawn.

    Args:
        picture: the original, upright RGB.
        maps: of its caption.
        panel: width of a panel in pixels.
        columns: panels in a row.
        same_scale: whether one colour means the same under all words.
    """
    small = picture.resize(panel_size(picture.size, panel), Image.Resampling.LANCZOS)
    heats = heat_maps(maps.map, maps.boxes, small.size, same_scale=same_scale)
    panels = [overlay(small, heat) for heat in heats]
    if not is_grid(maps.boxes):
        for drawn, row in zip(panels, maps.map, strict=True):
            outline(drawn, maps.boxes[row.argmax()])
    labels = ["", *maps.words]
    return _sheet([small, *panels], labels, columns=min(columns, len(labels)))


def outline(picture: Image.Image, box: NDArray) -> None:
    """Draws a box, x0 y0 x1 y1 in [0, 1], into a picture: white between two dark lines."""
    width, height = picture.size
    thick = max(1, width // 180)
    x0, y0, x1, y1 = np.rint(box * [width - 1, height - 1, width - 1, height - 1]).astype(int)
    draw = ImageDraw.Draw(picture)
    for inset, colour in enumerate(("black", "white", "black")):
        away = inset * thick
        left, top = int(x0) + away, int(y0) + away
        right, bottom = max(left, int(x1) - away), max(top, int(y1) - away)
        draw.rectangle((left, top, right, bottom), outline=colour, width=thick)


def _covered(low: NDArray, high: NDArray, pixels: int) -> NDArray[np.float64]:
    """``(region, pixels)``, the share of each pixel of a side that a region covers."""
    left = np.arange(pixels)
    shared = np.minimum(high[:, None], left + 1) - np.maximum(low[:, None], left)
    return shared.clip(0, 1)


def _hottest(maps: NDArray, *, same_scale: bool) -> NDArray:
    """The largest value, of each map or of all; 1 where there is none above 0."""
    axes = (0, 1, 2) if same_scale else (1, 2)
    most = maps.max(axis=axes, keepdims=True, initial=0)
    return np.where(most > 0, most, 1)


def _sheet(panels: Sequence[Image.Image], labels: Sequence[str], *, columns: int) -> Image.Image:
    """Panels in rows, each over its label."""
    unit = panels[0].width / PANEL
    margin, label = round(12 * unit), round(52 * unit)
    width, height = panels[0].width + margin, panels[0].height + label + margin
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * width + margin, rows * height + margin), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=max(8, 32 * unit))
    for index, (panel, text) in enumerate(zip(panels, labels, strict=True)):
        left = margin + index % columns * width
        top = margin + index // columns * height
        sheet.paste(panel, (left, top))
        middle = (left + panel.width / 2, top + panel.height + label / 2)
        draw.text(middle, text, fill="black", font=font, anchor="mm")
    return sheet
