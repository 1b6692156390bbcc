"""Attention maps drawn over the picture they belong to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from vlm.explain.maps import WordMaps

# From night to daylight; lightness rises all the way, so that it reads in grey and for
# every kind of colour vision.
HEAT = np.array(
    [[8, 12, 40], [44, 40, 120], [150, 60, 110], [235, 120, 50], [255, 205, 90], [255, 250, 220]]
)
OPACITY = 0.65
PANEL = 180
"""Pixels: a panel's width, and at most three times that its height."""
MARGIN = 6
LABEL = 26


def heat_map(weights: NDArray, boxes: NDArray, size: tuple[int, int]) -> NDArray:
    """Weights of regions as a smooth map over the picture.

    Args:
        weights: ``(N,)``, not negative.
        boxes: ``(N, 4)`` as x0 y0 x1 y1 in [0, 1].
        size: (width, height) of the picture in pixels.

    Returns:
        ``(height, width)``, in [0, 1], the most attended place being 1.
    """
    width, height = size
    canvas = np.zeros((height, width))
    corners = np.rint(boxes * np.array([width, height, width, height])).astype(int)
    # The weight of a region is spread over its area, so that large boxes do not outshine.
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).clip(1e-12)
    for density, (x0, y0, x1, y1) in zip(weights / areas, corners, strict=True):
        canvas[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] += density
    sides = (boxes[:, 2:] - boxes[:, :2]) * np.array([width, height])
    layer = Image.fromarray((canvas / max(canvas.max(), 1e-12)).astype(np.float32))
    levels = np.round(np.asarray(layer) * 255).astype(np.uint8)
    smooth = Image.fromarray(levels).filter(ImageFilter.GaussianBlur(float(np.median(sides)) / 3))
    values = np.asarray(smooth, dtype=np.float64)
    return values / max(values.max(), 1)


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
    picture: Image.Image, maps: WordMaps, *, panel: int = PANEL, columns: int = 8
) -> Image.Image:
    """The picture, then one panel a word with where that word looked.

    Args:
        picture: the original, upright RGB.
        maps: of its caption.
        panel: width of a panel in pixels.
        columns: panels in a row.
    """
    height = min(max(1, round(panel * picture.height / picture.width)), 3 * panel)
    small = picture.resize((panel, height), Image.Resampling.LANCZOS)
    boxes, weights = maps.boxes.numpy(), maps.mean().numpy()
    panels = [small, *(overlay(small, heat_map(row, boxes, small.size)) for row in weights)]
    labels = ["", *(f"{word}" for word in maps.words)]
    return _sheet(panels, labels, columns=min(columns, len(panels)))


def _sheet(panels: Sequence[Image.Image], labels: Sequence[str], *, columns: int) -> Image.Image:
    """Panels in rows, each over its label."""
    width, height = panels[0].width + MARGIN, panels[0].height + LABEL + MARGIN
    rows = -(-len(panels) // columns)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    for index, (panel, label) in enumerate(zip(panels, labels, strict=True)):
        left = MARGIN + index % columns * width
        top = MARGIN + index // columns * height
        sheet.paste(panel, (left, top))
        middle = (left + panel.width / 2, top + panel.height + LABEL / 2)
        draw.text(middle, label, fill="black", font=font, anchor="mm")
    return sheet
