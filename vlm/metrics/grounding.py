"""Whether maps look where the object is: formulas on arrays.

A map gives each region of an image a weight, and its weights sum to 1. Regions are boxes, of a grid
or of a detector; an object is a mask. Every score asks two things only: how much of a region's box
the mask covers (its coverage), and whether the centre of the box lies in the mask.

- Pointing game (Zhang et al., 2016, arXiv:1608.00507): a hit if the box of the region with the
  largest weight overlaps the mask at all (by region), or has its centre in it (by centre). Where
  several regions tie, the hit is the mean over them.
- Mass in mask: the sum of weight times coverage. For a grid this is attention correctness (Liu et
  al., 2017, arXiv:1605.09553), each weight spread evenly over its cell.
- Size-free mass: that, divided by the share of the image that the mask covers (Zhang et al., DICTA
  2018). An even map of a grid has 1, whatever the object; 2 is twice as much as by area.
- Entropy: of the weights, as a share of log N, N the number of regions: 1 for an even map, 0 where
  one region has it all.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm.formats.masks import Mask

Floats = NDArray[np.float64]

SIGMA = 0.25  # of the centre's Gaussian, in widths and heights of the image
TIE = 1e-6  # what of the largest weight another may lack and still tie: rounding of 32 bits
EDGE = 1e-6  # of the image: a box that reaches into a mask by less touches it by rounding alone
NOTHING = 1e-12  # of the image: an area that sums of parts may leave of none


class Targets(NamedTuple):
    """Objects as the regions of one image meet them; ``S`` objects, ``N`` regions.

    Attributes:
        coverage: ``(S, N)`` in [0, 1], how much of each region's box a mask covers.
        centres: ``(S, N)`` bool, whether the centre of the box lies in the mask.
        shares: ``(S,)`` in (0, 1], of the image that the mask covers.
    """

    coverage: Floats
    centres: NDArray[np.bool_]
    shares: Floats

    @classmethod
    def of(cls, masks: list[Mask], boxes: NDArray) -> "Targets":
        """The targets that masks are for ``(N, 4)`` boxes; each mask is looked at once."""
        found: dict[int, tuple[Floats, NDArray[np.bool_]]] = {}
        for mask in masks:
            if id(mask) not in found:
                found[id(mask)] = coverage(mask, boxes), centres_inside(mask, boxes)
        rows = [found[id(mask)] for mask in masks]
        return cls(
            np.array([row[0] for row in rows]).reshape(len(masks), len(boxes)),
            np.array([row[1] for row in rows], dtype=bool).reshape(len(masks), len(boxes)),
            np.array([mask.share for mask in masks]),
        )


# --- Regions and masks -----------------------------------------------------------------------


def coverage(mask: Mask, boxes: NDArray) -> Floats:
    """How much of each box a mask covers, exactly, wherever the box's edges lie.

    Args:
        mask: of an object.
        boxes: ``(N, 4)`` as x0 y0 x1 y1 in [0, 1] of the image.

    Returns:
        ``(N,)`` in [0, 1]; 0 for a box without an area, or that touches the mask only at an edge.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    areas = _areas(boxes)
    sums = np.zeros((mask.cells.shape[0] + 1, mask.cells.shape[1] + 1))
    sums[1:, 1:] = mask.cells.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    inner = boxes + EDGE * np.array([1, 1, -1, -1])
    inside, well_inside = _areas_inside(mask, sums, np.stack([boxes, inner]))
    overlaps = (areas > 0) & (well_inside > NOTHING)
    return np.where(overlaps, np.clip(inside / np.where(overlaps, areas, 1), 0, 1), 0.0)


def centres_inside(mask: Mask, boxes: NDArray) -> NDArray[np.bool_]:
    """``(N,)``: whether the centre of each box lies in a mask; a pixel has its left, upper edge."""
    boxes = np.asarray(boxes, dtype=np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + EDGE
    x, y = _cells(mask, centres).T
    columns, rows = np.floor(x).astype(int), np.floor(y).astype(int)
    height, width = mask.cells.shape
    there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return there & mask.cells[rows.clip(0, height - 1), columns.clip(0, width - 1)]


def _areas(boxes: Floats) -> Floats:
    sides = (boxes[:, 2:] - boxes[:, :2]).clip(min=0)
    return sides[:, 0] * sides[:, 1]


def _cells(mask: Mask, points: Floats) -> Floats:
    """``(..., 2)`` points of the image as columns and rows of a mask, with fractions."""
    x0, y0, x1, y1 = mask.extent
    height, width = mask.cells.shape
    return (points - [x0, y0]) * [width / (x1 - x0), height / (y1 - y0)]


def _areas_inside(mask: Mask, sums: Floats, boxes: Floats) -> Floats:
    """``(...)``, areas of boxes that a mask covers, in areas of the image.

    Args:
        mask: of an object.
        sums: ``(rows + 1, columns + 1)`` how many cells are set above and to the left.
        boxes: ``(..., 4)``.
    """
    height, width = mask.cells.shape
    corners = _cells(mask, boxes.reshape(*boxes.shape[:-1], 2, 2)).clip(0, [width, height])
    x, y = corners[..., [1, 0, 1, 0], 0], corners[..., [1, 1, 0, 0], 1]  # lower ones first
    set_cells = _sum_at(sums, x, y) @ np.array([1.0, -1.0, -1.0, 1.0])
    x0, y0, x1, y1 = mask.extent
    return set_cells * ((x1 - x0) * (y1 - y0) / (height * width))


def _sum_at(sums: Floats, x: Floats, y: Floats) -> Floats:
    """A table of sums between its entries: linear both ways, as cells are even inside."""
    column = np.minimum(x.astype(int), sums.shape[1] - 2)
    row = np.minimum(y.astype(int), sums.shape[0] - 2)
    right, down = x - column, y - row
    upper = sums[row, column] * (1 - right) + sums[row, column + 1] * right
    lower = sums[row + 1, column] * (1 - right) + sums[row + 1, column + 1] * right
    return upper * (1 - down) + lower * down


# --- Maps ------------------------------------------------------------------------------------


def oracle(targets: Targets) -> Floats:
    """``(S, N)`` maps of one who knows the masks: coverage per region; the ceiling.

    Even where a mask meets no region. By region it always hits; a map with all its weight on a
    region whose centre is inside can be above it by centre, and one on the region that is covered
    most in mass.
    """
    sums = targets.coverage.sum(axis=1, keepdims=True)
    even = np.full_like(targets.coverage, 1 / targets.coverage.shape[1])
    return np.where(sums > 0, targets.coverage / np.where(sums > 0, sums, 1), even)


def uniform(boxes: NDArray) -> Floats:
    """``(N,)``: the same for each region; none for padding, boxes without an area."""
    real = _real(boxes)
    return real / real.sum()


def central(boxes: NDArray) -> Floats:
    """``(N,)``: a Gaussian around the image's centre, at the centres of the boxes."""
    boxes = np.asarray(boxes, dtype=np.float64)
    away = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    weights = np.exp(-(away**2).sum(axis=1) / (2 * SIGMA**2)) * _real(boxes)
    return weights / weights.sum()


def _real(boxes: NDArray) -> NDArray[np.bool_]:
    """Which regions are no padding; all if none has an area."""
    real = _areas(np.asarray(boxes, dtype=np.float64)) > 0
    return real if real.any() else ~real


# --- Scores ----------------------------------------------------------------------------------


def peaks(maps: NDArray) -> Floats:
    """``(..., N)`` maps as the regions that they point at, weighing 1 in all, tied ones alike."""
    tied = maps >= maps.max(axis=-1, keepdims=True) * (1 - TIE)
    return tied / tied.sum(axis=-1, keepdims=True)


def pointing_by_region(maps: NDArray, targets: Targets) -> Floats:
    """``(..., S)`` in [0, 1] of ``(..., S, N)`` maps: whether the top region overlaps the mask."""
    return (peaks(maps) * (targets.coverage > 0)).sum(axis=-1)


def pointing_by_centre(maps: NDArray, targets: Targets) -> Floats:
    """``(..., S)`` in [0, 1] of ``(..., S, N)`` maps: whether the top region's centre is in it."""
    return (peaks(maps) * targets.centres).sum(axis=-1)


def mass_in_mask(maps: NDArray, targets: Targets) -> Floats:
    """``(..., S)`` in [0, 1] of ``(..., S, N)`` maps: weight times coverage, summed."""
    return (maps * targets.coverage).sum(axis=-1)


def size_free_mass(maps: NDArray, targets: Targets) -> Floats:
    """``(..., S)`` at least 0: the mass in the mask by the mask's share of the image."""
    return mass_in_mask(maps, targets) / targets.shares


def entropy(maps: NDArray, boxes: NDArray) -> Floats:
    """``(...)`` in [0, 1] of ``(..., N)`` maps, as a share of an even map's; 1 for one region.

    Regions that pad, boxes ``(N, 4)`` without an area, do not count.
    """
    regions = np.count_nonzero(_real(boxes))
    if regions == 1:
        return np.ones(maps.shape[:-1])
    logs = np.log(np.where(maps > 0, maps, 1))
    return -(maps * logs).sum(axis=-1) / np.log(regions)


def area_under(values: NDArray, places: NDArray | None = None) -> Floats:
    """The area under curves by the trapezoid rule, of deletion or insertion say.

    Args:
        values: ``(..., K)`` of K >= 2 points of each curve.
        places: ``(K,)`` where they are, rising; evenly from 0 to 1 when not given.

    Returns:
        ``(...)`` by the width of the places: the mean height of the curve.
    """
    values = np.asarray(values, dtype=np.float64)
    at = np.linspace(0, 1, values.shape[-1]) if places is None else np.asarray(places)
    return np.trapezoid(values, at, axis=-1) / (at[-1] - at[0])
