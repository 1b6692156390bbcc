"""Formulas of grounding: equal to the golden, by hand, and where they may not move."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vlm.formats.masks import Mask
from vlm.metrics.grounding import (
    Targets,
    area_under,
    central,
    centres_inside,
    coverage,
    entropy,
    mass_in_mask,
    oracle,
    peaks,
    pointing_by_centre,
    pointing_by_region,
    size_free_mass,
    uniform,
)


def grid(rows: int, columns: int) -> NDArray:
    """Boxes of a grid, row by row."""
    y, x = np.mgrid[:rows, :columns]
    boxes = np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=-1)
    return boxes.reshape(-1, 4)


def mask_of(pixels: NDArray) -> Mask:
    mask = Mask.of_pixels(pixels)
    assert mask is not None
    return mask


def blob(seed: int, share: float = 0.1) -> NDArray:
    """A share of 11 x 13 pixels, here and there."""
    return np.random.default_rng(seed).random((11, 13)) < share


def test_equals_the_golden(shared: Path):
    # attention_box.json: mass by exact areas of cells, the centre of the largest cell in the box.
    cases = json.loads((shared / "goldens" / "misc" / "attention_box.json").read_text())["cases"]
    assert len(cases) == 60
    for case in cases:
        attention = np.array(case["attention"])
        height, width = case["image_hw"]
        x, y, w, h = case["bbox_xywh"]
        extent = np.array([x / width, y / height, (x + w) / width, (y + h) / height])
        boxes, maps = grid(*attention.shape), attention.reshape(1, -1)
        targets = Targets.of([Mask(np.ones((1, 1), dtype=bool), extent)], boxes)
        mass = case["mass_in_box_exact_area"]
        assert mass_in_mask(maps, targets)[0] == pytest.approx(mass, rel=1e-12)
        even = mass_in_mask(uniform(boxes)[None], targets)[0]
        assert even == pytest.approx(case["uniform_baseline"], rel=1e-12)
        row, column = case["argmax_cell"]
        assert peaks(maps)[0].argmax() == row * attention.shape[1] + column
        assert pointing_by_centre(maps, targets)[0] == case["pointing_hit_centre"]


def test_coverage_by_hand():
    # 4 x 4 pixels, the one in the second row and column set; boxes in quarters of a pixel.
    pixels = np.zeros((4, 4))
    pixels[1, 1] = 1
    boxes = np.array(
        [
            [0, 0, 1, 1],  # a sixteenth of the image
            [0.25, 0.25, 0.5, 0.5],  # the pixel
            [0.125, 0.125, 0.5, 0.5],  # 1.5 x 1.5 pixels around it
            [0.375, 0.3125, 0.625, 0.4375],  # half inside
            [0.5, 0.25, 0.75, 0.5],  # beside it
            [0.3, 0.3, 0.3, 0.4],  # no area
        ]
    )
    expected = [1 / 16, 1, 1 / 2.25, 0.5, 0, 0]
    np.testing.assert_allclose(coverage(mask_of(pixels), boxes), expected, atol=1e-12)


def test_coverage_is_the_mean_of_pixels():
    pixels = blob(0)
    boxes = np.array([[2 / 13, 3 / 11, 9 / 13, 8 / 11], [0, 0, 1, 1], [4 / 13, 0, 5 / 13, 1]])
    expected = [pixels[3:8, 2:9].mean(), pixels.mean(), pixels[:, 4].mean()]
    np.testing.assert_allclose(coverage(mask_of(pixels), boxes), expected, atol=1e-12)


@pytest.mark.parametrize("columns", [3, 5, 7, 10])
def test_rounding_of_boxes_is_no_overlap(columns: int):
    # Boxes in 32 bits, and a mask that begins where the first column of boxes ends.
    pixels = np.zeros((10, 210))
    pixels[:, 210 // columns :] = 1
    boxes = grid(1, columns).astype(np.float32)
    found = coverage(mask_of(pixels), boxes)
    assert found[0] == 0
    np.testing.assert_allclose(found[1:], 1, atol=1e-5)


def test_one_pixel_in_a_large_image_is_an_overlap():
    pixels = np.zeros((480, 640))
    pixels[479, 639] = 1
    assert coverage(mask_of(pixels), np.array([[0, 0, 1, 1]]))[0] == pytest.approx(1 / 307200)


def test_centres_by_hand():
    pixels = np.zeros((4, 6))
    pixels[1:3, 2:4] = 1
    boxes = np.array(
        [
            [0, 0, 1, 1],  # at pixel (3, 2): inside
            [0.25, 0, 0.75, 0.4],  # at row 0.8: above
            [0.3, 0.25, 0.4, 0.35],  # at pixel (2.1, 1.2): inside
            [0.5, 0.5, 0.9, 0.6],  # at column 4.2: right of it
            [1 / 3, 0.25, 1 / 3, 0.25],  # on the upper left corner: inside
            [2 / 3, 0.75, 2 / 3, 0.75],  # on the lower right corner: not
        ]
    )
    found = centres_inside(mask_of(pixels), boxes)
    assert found.tolist() == [True, False, True, False, True, False]


def test_flipped_images_have_flipped_scores():
    boxes, pixels = grid(3, 4), blob(1, 0.4)
    turned = boxes[:, [2, 1, 0, 3]]
    turned[:, [0, 2]] = 1 - turned[:, [0, 2]]
    plain = Targets.of([mask_of(pixels)], boxes)
    flipped = Targets.of([mask_of(pixels[:, ::-1])], turned)
    np.testing.assert_allclose(flipped.coverage, plain.coverage, atol=1e-12)
    across = Targets.of([mask_of(pixels[:, ::-1])], boxes)
    order = np.arange(12).reshape(3, 4)[:, ::-1].ravel()
    np.testing.assert_allclose(across.coverage[:, order], plain.coverage, atol=1e-12)
    assert across.centres.tolist() != plain.centres.tolist()
    assert (flipped.centres == plain.centres).all()


def test_permuted_regions_change_nothing():
    boxes, masks = grid(3, 5), [mask_of(blob(seed)) for seed in (2, 3)]
    order = np.random.default_rng(0).permutation(15)
    maps = np.random.default_rng(1).dirichlet(np.ones(15), size=(7, 2))
    here, there = Targets.of(masks, boxes), Targets.of(masks, boxes[order])
    for score in (pointing_by_region, pointing_by_centre, mass_in_mask, size_free_mass):
        found = score(maps[..., order], there)
        assert found.shape == (7, 2)
        np.testing.assert_allclose(found, score(maps, here), atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_oracle_hits_and_uniform_hits_by_share(seed: int):
    boxes = grid(3, 5)
    targets = Targets.of([mask_of(blob(seed))], boxes)
    assert pointing_by_region(oracle(targets), targets)[0] == 1
    even = uniform(boxes)[None]
    touched = (targets.coverage > 0).mean()
    assert 0 < touched < 1
    assert pointing_by_region(even, targets)[0] == pytest.approx(touched, abs=1e-12)
    assert pointing_by_centre(even, targets)[0] == pytest.approx(targets.centres.mean(), abs=1e-12)
    assert size_free_mass(even, targets)[0] == pytest.approx(1, abs=1e-12)


def test_an_object_that_no_region_meets():
    pixels = np.zeros((4, 4))
    pixels[3, 3] = 1
    targets = Targets.of([mask_of(pixels)], np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5]]))
    assert oracle(targets).tolist() == [[0.5, 0.5]]
    assert pointing_by_region(oracle(targets), targets)[0] == 0


def test_ties_are_the_mean_over_the_tied():
    # Four columns, the object in the first two and a half; three of them tie, but for rounding.
    pixels = np.zeros((1, 8))
    pixels[0, :5] = 1
    targets = Targets.of([mask_of(pixels)], grid(1, 4))
    assert targets.centres.tolist() == [[True, True, False, False]]
    maps = np.array([[0.1, 0.3, 0.3 * (1 - 1e-7), 0.3]])
    assert pointing_by_region(maps, targets)[0] == pytest.approx(2 / 3)
    assert pointing_by_centre(maps, targets)[0] == pytest.approx(1 / 3)
    clear = np.array([[0.1, 0.3, 0.3 * (1 - 1e-5), 0.3 * (1 - 1e-5)]])
    assert pointing_by_centre(clear, targets)[0] == 1


def test_mass_by_hand():
    # The object covers the first column and half of the second: 3/8 of the image.
    pixels = np.zeros((2, 8))
    pixels[:, :3] = 1
    targets = Targets.of([mask_of(pixels)], grid(1, 4))
    maps = np.array([[0.5, 0.2, 0.3, 0.0]])
    assert mass_in_mask(maps, targets)[0] == pytest.approx(0.6)
    assert size_free_mass(maps, targets)[0] == pytest.approx(1.6)


def test_entropy_by_hand():
    maps = np.array([[0.25, 0.25, 0.25, 0.25], [0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    cells = grid(2, 2)
    np.testing.assert_allclose(entropy(maps, cells), [1, 0, 0.5], atol=1e-12)
    assert entropy(np.ones((2, 1)), grid(1, 1)).tolist() == [1, 1]
    padded = np.concatenate([cells, np.zeros((6, 4))])
    wide = np.pad(maps, ((0, 0), (0, 6)))
    np.testing.assert_allclose(entropy(wide, padded), [1, 0, 0.5], atol=1e-12)


def test_padding_has_no_weight():
    boxes = np.concatenate([grid(1, 3), np.zeros((2, 4))])
    assert uniform(boxes) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    # The outer two are a third of the image from the centre: exp(-1/9 / (2 / 16)) of its weight.
    outer = np.exp(-8 / 9)
    expected = np.array([outer, 1, outer, 0, 0]) / (1 + 2 * outer)
    np.testing.assert_allclose(central(boxes), expected, atol=1e-12)


def test_four_regions_tie_at_the_centre_of_an_even_grid():
    tops = peaks(central(grid(4, 6).astype(np.float32)))
    assert np.flatnonzero(tops).tolist() == [8, 9, 14, 15]


def test_area_under_by_hand():
    assert area_under(np.array([[0, 1], [0.5, 0.5]])).tolist() == [0.5, 0.5]
    assert area_under(np.array([1, 0, 0])) == 0.25
    assert area_under(np.array([1, 0, 0]), np.array([0, 1, 4])) == 0.125
