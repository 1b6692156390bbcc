"""The reliability diagram, pixel by pixel: bars, gaps, diagonal, counts, nothing on top."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vlm.explain.reliability import (
    ACCURACY,
    EDGE,
    GRID,
    LEFT,
    SIDE,
    SIZE,
    TOO_SURE,
    TOO_UNSURE,
    TOP,
    reliability_picture,
)
from vlm.metrics.calibration import Bin

WHITE = (255, 255, 255)
COUNTS = slice(TOP - 24, TOP - 6)  # rows
# Two too sure, two not sure enough, one just right; none from 0.4 to 0.6 and from 0.8.
BINS = [
    Bin(0.0, 0.1, 3, 0.06, 0.42),
    Bin(0.1, 0.2, 55, 0.18, 0.03),
    Bin(0.2, 0.3, 8, 0.21, 0.21),
    Bin(0.3, 0.4, 1234, 0.34, 1.0),
    Bin(0.6, 0.7, 17, 0.62, 0.31),
    Bin(0.7, 0.8, 2, 0.79, 0.0),
]
# Linear RGB as it is seen without one kind of cone (Machado et al., 2009, severity 1).
VISIONS = {
    "protanopia": [
        *([0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216]),
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        *([0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413]),
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        *([1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602]),
        [0.004733, 0.691367, 0.303900],
    ],
}
SHADES = (ACCURACY, TOO_SURE, TOO_UNSURE, WHITE)


def drawn(bins: list[Bin], error: float = 0.1) -> np.ndarray:
    return np.asarray(reliability_picture(bins, error=error)).astype(int)


def even(counts: list[int]) -> list[Bin]:
    """Bins of equal width that have these many questions."""
    edges = np.linspace(0, 1, len(counts) + 1).tolist()
    return [
        Bin(low, high, count, (low + high) / 2, 0.5)
        for (low, high), count in zip(pairwise(edges), counts, strict=True)
    ]


def text_boxes(monkeypatch, bins: list[Bin], error: float = 0.1) -> list[tuple[str, tuple]]:
    """Every text that is written onto the picture, and its box."""
    write, boxes = ImageDraw.ImageDraw.text, []

    def note(self, xy, text, **options):
        if self.im.size == (SIZE, SIZE):
            box = self.textbbox(xy, text, font=options["font"], anchor=options["anchor"])
            boxes.append((text, box))
        write(self, xy, text, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "text", note)
        reliability_picture(bins, error=error)
    return boxes


def test_a_square_in_colour():
    picture = reliability_picture(BINS, error=0.1)
    assert (picture.mode, picture.size) == ("RGB", (640, 640))


@pytest.mark.parametrize("each", BINS, ids=lambda each: f"{each.low}")
def test_a_bar_is_as_high_as_its_accuracy_and_its_gap_ends_at_its_confidence(each: Bin):
    pixels = drawn(BINS)
    lower, upper = sorted((each.accuracy, each.confidence))
    gap = TOO_SURE if each.accuracy < each.confidence else TOO_UNSURE
    looked_at = 0
    for part in (0.2, 0.5, 0.8):
        across = each.low + part * (each.high - each.low)
        column = pixels[TOP : TOP + SIDE, LEFT + round(SIDE * across)]
        for row, pixel in enumerate(column):
            height = 1 - (row + 0.5) / SIDE
            ends = [abs(height - end) * SIDE for end in (each.accuracy, each.confidence)]
            on_diagonal = abs(height - across) * SIDE <= 5
            if min(ends) <= 2 or on_diagonal or row < 3 or row >= SIDE - 3:
                continue
            looked_at += 1
            if height > upper:
                assert pixel.min() >= min(GRID), "nothing but the grid"
            else:
                assert tuple(pixel) == (ACCURACY if height < lower else gap)
    assert looked_at > 3 * (SIDE - 40)


def test_the_end_of_a_bar_is_a_line_of_its_own():
    pixels = drawn(BINS)
    for each in BINS:
        row = TOP + round(SIDE * (1 - each.accuracy))
        row = min(max(row, TOP + 1), TOP + SIDE - 2)
        columns = [LEFT + round(SIDE * (each.low + part / 100)) for part in (2, 8)]
        assert EDGE in {tuple(pixels[row, column]) for column in columns}


def test_where_no_bin_is_there_is_no_bar():
    pixels = drawn(BINS)
    for low, high in ((0.4, 0.6), (0.8, 1.0)):
        for column in range(LEFT + round(SIDE * low), LEFT + round(SIDE * high)):
            found = {tuple(pixel) for pixel in pixels[TOP : TOP + SIDE, column]}
            assert not found & {ACCURACY, TOO_SURE, TOO_UNSURE, EDGE}


def test_the_diagonal_runs_over_everything():
    pixels = drawn(BINS)
    for step in range(3, SIDE - 3):
        line = pixels[TOP + SIDE - 1 - step, LEFT + step]
        assert line.max() < 110
        across = pixels[TOP + SIDE - 1 - step - 2, LEFT + step]
        assert across.min() > 150, "a white rim keeps it apart from bars"


def test_shades_are_told_apart_in_grey():
    levels = sorted(
        int(np.asarray(Image.new("RGB", (1, 1), shade).convert("L"))[0, 0]) for shade in SHADES
    )
    assert min(after - before for before, after in pairwise(levels)) >= 40


@pytest.mark.parametrize("matrix", VISIONS.values(), ids=VISIONS.keys())
def test_shades_are_told_apart_by_every_colour_vision(matrix: list[list[float]]):
    linear = (np.array(SHADES) / 255) ** 2.2
    seen = 255 * (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(one - other) > 60


def test_both_axes_have_numbers_and_a_name(monkeypatch):
    boxes = text_boxes(monkeypatch, BINS)
    for at in (0, 0.2, 0.4, 0.6, 0.8, 1):
        numbers = [box for text, box in boxes if text == f"{at:.1f}"]
        below = [box for box in numbers if box[1] > TOP + SIDE]
        beside = [box for box in numbers if box[2] < LEFT]
        assert len(below) == len(beside) == 1
        assert (below[0][0] + below[0][2]) / 2 == pytest.approx(LEFT + SIDE * at, abs=2)
        assert (beside[0][1] + beside[0][3]) / 2 == pytest.approx(TOP + SIDE * (1 - at), abs=2)
    assert [box[1] > TOP + SIDE for text, box in boxes if text == "confidence"] == [True]
    upright = drawn(BINS)[TOP:, :44].min(axis=2) < 128
    rows, columns = np.flatnonzero(upright.any(axis=1)), np.flatnonzero(upright.any(axis=0))
    assert np.ptp(rows) > 3 * np.ptp(columns), "the name of the other axis reads upwards"
    assert rows.mean() == pytest.approx(SIDE / 2, abs=8)


def test_the_error_is_told_in_per_cent_and_nothing_else_changes(monkeypatch):
    texts = [text for text, _ in text_boxes(monkeypatch, BINS, 0.0423)]
    assert texts.count("Expected calibration error 4.2 %") == 1
    changed = (drawn(BINS, 0.0423) != drawn(BINS, 0.98)).any(axis=(1, 2))
    assert changed.any()
    assert not changed[36:].any()


def test_counts_stand_above_their_bins_and_nothing_else_changes(monkeypatch):
    boxes = dict(text_boxes(monkeypatch, BINS))
    for each in BINS:
        left, _, right, bottom = boxes[f"{each.count:,}"]
        middle = LEFT + SIDE * (each.low + each.high) / 2
        assert (left + right) / 2 == pytest.approx(middle, abs=2)
        assert bottom < TOP
    changed = drawn(BINS) != drawn([each._replace(count=each.count + 5) for each in BINS])
    changed[COUNTS] = False
    assert not changed.any()


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([1, 22, 23_870, 64_111, 9] * 2, ["1", "22", "23,870", "64,111", "9"] * 2),
        ([1, 599, 1_499, 12_499, 9] * 4, ["1", "599", "1k", "12k", "9"] * 4),
        ([5, 2_499_999] * 10, ["5", "2M"] * 10),
        ([999_499, 999_500, 400_000_000] * 4, ["999k", "1M", "400M"] * 4),
        ([1, 20_000] * 20, ["400,020 in all"]),
        ([], ["0 in all"]),
    ],
)
def test_counts_are_shortened_where_there_is_little_room(monkeypatch, counts, told):
    boxes = text_boxes(monkeypatch, even(counts) if counts else [])
    row = [(text, box) for text, box in boxes if COUNTS.start < box[1] and box[3] < TOP]
    assert [text for text, _ in row if text != "questions"] == told


@pytest.mark.parametrize(
    "bins",
    [
        *(BINS, [], even([1]), even([214_354] * 10), even([99_999] * 20), even([999] * 20)),
        *(even([7] * 100), even([10**9] * 10), [Bin(0.9, 1.0, 10**7, 1.0, 1.0)]),
    ],
    ids=["some", "none", "one", "many", "twenty", "short", "narrow", "huge", "last"],
)
@pytest.mark.parametrize("error", [0.0, 1.0])
def test_nothing_is_clipped_and_no_text_touches_another(monkeypatch, bins, error):
    boxes = text_boxes(monkeypatch, bins, error)
    for text, (left, top, right, bottom) in boxes:
        assert min(left, top, SIZE - right, SIZE - bottom) >= 6, text
        inside = left < LEFT + SIDE and right > LEFT and top < TOP + SIDE and bottom > TOP
        assert not inside, f"{text} is on the plot"
    for (one, box), (other, second) in combinations(boxes, 2):
        apart = (
            box[2] + 2 <= second[0]
            or second[2] + 2 <= box[0]
            or box[3] + 1 <= second[1]
            or second[3] + 1 <= box[1]
        )
        assert apart, f"{one} and {other}"
    pixels = drawn(bins, error)
    pixels[6:-6, 6:-6] = 255
    assert (pixels == 255).all(), "the border is white"


def test_the_legend_shows_the_three_shades():
    band = drawn([])[36:58].reshape(-1, 3)
    for shade in (ACCURACY, TOO_SURE, TOO_UNSURE):
        assert (band == shade).all(axis=1).sum() > 100
