"""Pictures of maps: where the heat lies, how it moves with the picture, what a strip shows."""

import numpy as np
import pytest
from PIL import Image
from reading import COLUMNS, COUNT, HEADS, LAYERS, ROWS

from vlm.explain.overlay import PANEL, heat_maps, is_grid, outline, overlay, panel_size, strip
from vlm.formats.word_maps import WordMaps
from vlm.regions import grid_boxes

GRID = grid_boxes(ROWS, COLUMNS).numpy()
BOXES = np.array([[0.1, 0.2, 0.4, 0.7], [0.5, 0.1, 0.9, 0.45], [0, 0, 1, 1]], dtype=np.float32)


def some_maps(words: list[str], boxes: np.ndarray = GRID, *, seed: int = 0) -> WordMaps:
    numbers = np.random.default_rng(seed)
    weights = numbers.random((LAYERS, HEADS, len(words), len(boxes))).astype(np.float32) ** 4
    weights /= weights.sum(axis=-1, keepdims=True)
    return WordMaps(
        words=tuple(words),
        weights=weights,
        map=weights[-1].mean(axis=0),
        reduction="last",
        probabilities=numbers.random(len(words)).astype(np.float32),
        boxes=boxes,
    )


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_the_heat_lies_where_the_region_is():
    heats = heat_maps(np.eye(COUNT), GRID, (100, 45))
    assert heats.shape == (COUNT, 45, 100)
    for box, heat in zip(GRID, heats, strict=True):
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        x0, y0, x1, y1 = box * [100, 45, 100, 45]
        assert x0 <= x + 0.5 <= x1
        assert y0 <= y + 0.5 <= y1
        assert heat.max() == 1


def test_even_weights_make_an_even_map_wherever_pixels_are_cut():
    (heat,) = heat_maps(np.full((1, COUNT), 1 / COUNT), GRID, (97, 46))
    assert heat.min() > 0.98


def test_maps_may_share_a_scale():
    rows = np.array([np.eye(COUNT)[4], np.full(COUNT, 1 / COUNT)])
    for same, most in ((False, 1), (True, 1 / COUNT)):
        heats = heat_maps(rows, GRID, (100, 45), same_scale=same)
        assert heats[0].max() == 1
        # Half again for the blur, which takes from the peak and not from what is even.
        assert most * 0.9 <= heats[1].max() <= min(1, most * 1.6)


def test_nothing_looked_at_is_nothing_shown():
    assert heat_maps(np.zeros((2, COUNT)), GRID, (20, 10)).max() == 0
    assert heat_maps(np.zeros((0, COUNT)), GRID, (20, 10)).shape == (0, 10, 20)


def test_hot_is_lighter_than_cold_in_grey():
    picture = Image.new("RGB", (256, 1), (128, 128, 128))
    levels = np.asarray(overlay(picture, np.linspace(0, 1, 256)[None])) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(levels[0]) > -0.51).all(), "lightness rises up to rounding"
    assert levels[0, -1] - levels[0, 0] > 100


@pytest.mark.parametrize("boxes", [GRID, BOXES], ids=["grid", "boxes"])
@pytest.mark.parametrize("size", [(111, 64), (100, 45)])
def test_a_flipped_picture_has_a_flipped_overlay(boxes, size):
    picture, row = noise(*size), some_maps(["a"], boxes).map
    mirrored = boxes[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [1, 0, 1, 0]
    upright = overlay(picture, heat_maps(row, boxes, size)[0])
    flip = Image.Transpose.FLIP_LEFT_RIGHT
    flipped = overlay(picture.transpose(flip), heat_maps(row, mirrored, size)[0])
    away = np.asarray(flipped.transpose(flip), dtype=int) - np.asarray(upright, dtype=int)
    assert abs(away).max() <= 2, "up to a level of the heat"


def test_grids_are_told_from_boxes():
    assert is_grid(GRID)
    assert is_grid(grid_boxes(1, 1).numpy())
    assert is_grid(np.concatenate([GRID, np.zeros((2, 4))])), "what pads is not looked at"
    assert not is_grid(BOXES)
    assert not is_grid(np.concatenate([GRID, BOXES]))
    assert not is_grid(GRID[:-1])
    assert not is_grid(np.zeros((3, 4)))


def test_the_box_that_was_attended_to_most_is_drawn():
    maps = some_maps(["a", "b"], BOXES)._replace(map=np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]]))
    picture = Image.new("RGB", (300, 200), "green")
    drawn = np.asarray(strip(picture, maps, panel=300))
    margin = 10  # a thirtieth of a panel
    for panel, (x0, y0, x1, y1) in ((1, BOXES[1]), (2, BOXES[0])):
        part = drawn[margin : margin + 200, margin + 310 * panel :][:, :300]
        white = (part == 255).all(axis=-1)
        rows, columns = np.nonzero(white)
        found = (columns.min(), rows.min(), columns.max(), rows.max())
        assert found == pytest.approx((300 * x0, 200 * y0, 300 * x1, 200 * y1), abs=3)
    grid = np.asarray(strip(picture, some_maps(["a"]), panel=300))
    assert not (grid[margin : margin + 200, margin + 310 :][:, :300] == 255).all(axis=-1).any()


def test_a_box_of_no_size_can_be_outlined():
    outline(Image.new("RGB", (30, 20)), np.array([0.5, 0.5, 0.5, 0.5]))


def test_a_strip_has_a_panel_for_the_picture_and_each_word():
    picture = Image.new("RGB", (320, 200), "green")
    one = strip(picture, some_maps(["a"]), panel=90)
    assert one.width == 2 * 93 + 3
    many = strip(picture, some_maps(["a"] * 9), panel=90, columns=4)
    assert many.width == 4 * 93 + 3
    assert many.height == 3 * (one.height - 3) + 3
    strip(picture, some_maps([]), panel=90)


def test_panels_keep_the_shape_of_the_picture_up_to_a_length():
    assert panel_size((640, 480)) == (PANEL, PANEL * 3 // 4)
    assert panel_size((10, 9000)) == (PANEL, 3 * PANEL)
    assert panel_size((9000, 3)) == (PANEL, PANEL // 12)
