"""A reliability diagram: whether answers are as right as they are sure."""

from collections.abc import Callable, Sequence

from PIL import Image, ImageDraw, ImageFont

from vlm.metrics.calibration import Bin

SIZE = 640
"""Pixels: the picture's width and height."""
LEFT, TOP, SIDE = 92, 86, 500
"""Pixels: where the plot begins, and its width and height, which are 0 to 1."""

# Nearly evenly spaced in grey, white being the next, so that they are told apart without colour
# and by every kind of colour vision.
ACCURACY = (44, 80, 150)
TOO_SURE = (222, 140, 52)
TOO_UNSURE = (178, 214, 244)
EDGE = (10, 20, 50)
INK, FAINT, GRID = (26, 26, 26), (85, 85, 85), (224, 224, 224)

# What the shades mean, and whether the line of accuracy is above them.
_LEGEND = (
    ("accuracy", ACCURACY, True),
    ("too sure", TOO_SURE, False),
    ("not sure enough", TOO_UNSURE, True),
)

_FINE = 4  # the plot is drawn this many times as large and then shrunk, for a smooth diagonal
_TICKS = 5
_GAP = 6  # pixels between a text and what it belongs to, or the next text
_COUNTS = TOP - 15  # the middle of the row of counts


def reliability_picture(bins: Sequence[Bin], *, error: float) -> Image.Image:
    """A bar a bin, as high as its answers are right, against the diagonal where all should end.

    The part between a bar's end and the mean confidence of its bin, which is on the diagonal, has
    another shade where answers are surer than right, and a third one where they are righter than
    sure (Guo et al., 2017, arXiv:1706.04599, figure 1). How many questions a bin has stands above
    it: in thousands or millions where there is little room, and where there is none only how many
    there are in all.

    Args:
        bins: of :func:`vlm.metrics.calibration.reliability`, which leaves out empty ones.
        error: the expected calibration error, in [0, 1].

    Returns:
        RGB, 640 x 640 pixels.
    """
    picture = Image.new("RGB", (SIZE, SIZE), "white")
    picture.paste(_plot(bins), (LEFT, TOP))
    draw = ImageDraw.Draw(picture)
    _draw_axes(picture, draw)
    _draw_legend(draw, error)
    _draw_counts(draw, bins)
    return picture


def _plot(bins: Sequence[Bin]) -> Image.Image:
    """Grid, bars and diagonal, ``SIDE`` pixels wide and high."""
    full = SIDE * _FINE
    plot = Image.new("RGB", (full, full), "white")
    draw = ImageDraw.Draw(plot)

    def fill(left: float, low: float, right: float, high: float, shade: tuple) -> None:
        """A rectangle between two confidences and two accuracies."""
        x0, x1 = round(full * left), round(full * right) - 1
        y0, y1 = full - round(full * high), full - round(full * low) - 1
        if x0 <= x1 and y0 <= y1:
            draw.rectangle((x0, y0, x1, y1), fill=shade)

    thin, thick = 0.5 / SIDE, 3 / SIDE
    for tick in range(_TICKS + 1):
        at = tick / _TICKS
        fill(at - thin, 0, at + thin, 1, GRID)
        fill(0, at - thin, 1, at + thin, GRID)
    for each in bins:
        space = min(2 * thin, (each.high - each.low) / 8)
        left, right = each.low + space, each.high - space
        lower, upper = sorted((each.accuracy, each.confidence))
        shade = TOO_SURE if each.accuracy < each.confidence else TOO_UNSURE
        fill(left, 0, right, lower, ACCURACY)
        fill(left, lower, right, upper, shade)
        end = min(max(each.accuracy, thick / 2), 1 - thick / 2)
        fill(left, end - thick / 2, right, end + thick / 2, EDGE)
    for width, shade in ((5, "white"), (2, INK)):
        draw.line((0, full, full, 0), fill=shade, width=width * _FINE)
    return plot.reduce(_FINE)


def _draw_axes(picture: Image.Image, draw: ImageDraw.ImageDraw) -> None:
    """Both lines, their numbers and their names."""
    numbers, names = ImageFont.load_default(size=14), ImageFont.load_default(size=17)
    right, bottom = LEFT + SIDE, TOP + SIDE
    draw.line((LEFT - 1, TOP, LEFT - 1, bottom), fill=INK)
    draw.line((LEFT - 1, bottom, right, bottom), fill=INK)
    for tick in range(_TICKS + 1):
        along, text = SIDE * tick / _TICKS, f"{tick / _TICKS:.1f}"
        draw.line((LEFT + along, bottom, LEFT + along, bottom + 4), fill=INK)
        draw.line((LEFT - 5, bottom - along, LEFT - 1, bottom - along), fill=INK)
        below, beside = (LEFT + along, bottom + 4 + _GAP), (LEFT - 5 - _GAP, bottom - along)
        draw.text(below, text, fill=INK, font=numbers, anchor="mt")
        draw.text(beside, text, fill=INK, font=numbers, anchor="rm")
    draw.text((LEFT + SIDE / 2, SIZE - 10), "confidence", fill=INK, font=names, anchor="ms")
    upright = _upright("accuracy", names)
    corner = (LEFT - 62 - upright.width // 2, TOP + (SIDE - upright.height) // 2)
    picture.paste(INK, corner, upright)


def _upright(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """The mask of a text that reads upwards."""
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (round(right - left) + 2, round(bottom - top) + 2))
    ImageDraw.Draw(mask).text((1 - left, 1 - top), text, fill=255, font=font)
    return mask.transpose(Image.Transpose.ROTATE_90)


def _draw_legend(draw: ImageDraw.ImageDraw, error: float) -> None:
    """The error, and below it what the shades mean."""
    title, names = ImageFont.load_default(size=20), ImageFont.load_default(size=14)
    text = f"Expected calibration error {100 * error:.1f} %"
    draw.text((LEFT, 26), text, fill=INK, font=title, anchor="ls")
    left, middle = float(LEFT), 47
    for name, shade, above in _LEGEND:
        draw.rectangle((left, middle - 7, left + 13, middle + 6), fill=shade)
        edge = middle - 7 if above else middle + 4
        draw.rectangle((left, edge, left + 13, edge + 2), fill=EDGE)
        left += 14 + _GAP
        draw.text((left, middle), name, fill=INK, font=names, anchor="lm")
        left += names.getlength(name) + 3 * _GAP
    draw.line((left, middle, left + 20, middle), fill=INK, width=2)
    draw.text((left + 20 + _GAP, middle), "as right as sure", fill=INK, font=names, anchor="lm")


def _draw_counts(draw: ImageDraw.ImageDraw, bins: Sequence[Bin]) -> None:
    """How many questions each bin has, in a row above the plot."""
    font = ImageFont.load_default(size=12)
    draw.text((LEFT - 11, _COUNTS), "questions", fill=FAINT, font=font, anchor="rm")

    def fits(spelled: Callable[[int], str]) -> bool:
        room = (SIDE * (each.high - each.low) - 3 for each in bins)
        widths = (font.getlength(spelled(each.count)) for each in bins)
        return all(width <= space for width, space in zip(widths, room, strict=True))

    spelled = next(filter(fits, (_exactly, _about)), None)
    if spelled is None or not bins:
        text = f"{sum(each.count for each in bins):,} in all"
        draw.text((LEFT, _COUNTS), text, fill=FAINT, font=font, anchor="lm")
        return
    for each in bins:
        middle = (LEFT + SIDE * (each.low + each.high) / 2, _COUNTS)
        draw.text(middle, spelled(each.count), fill=FAINT, font=font, anchor="mm")


def _exactly(count: int) -> str:
    return f"{count:,}"


def _about(count: int) -> str:
    """Three digits at most: ``24k`` for 23,870."""
    thousands = round(count / 1000)
    if count < 1000:
        return str(count)
    return f"{thousands}k" if thousands < 1000 else f"{count / 10**6:.0f}M"
