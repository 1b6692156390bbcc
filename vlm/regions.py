"""RegionFeatures, the one currency between backbone, store, decoder, overlay and grounding."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class RegionFeatures(NamedTuple):
    """What a backbone saw in a batch of images, region by region.

    Shape letters of the whole project: ``B`` images, ``C`` captions or questions
    an image, ``K`` beams, ``N`` regions, ``L`` text length, ``D`` width,
    ``H`` heads, ``V`` vocabulary.

    Attributes:
        features: ``(B, N, D)``, floating point.
        boxes: ``(B, N, 4)`` as x0 y0 x1 y1 in [0, 1] of the *original* image.
        mask: ``(B, N)`` boolean, True where the region is real, False where it pads.
        kinds: ``(B, N)`` bytes, 0 for a cell of the grid and 1 for a box around something;
            None where all are cells.
    """

    features: Tensor
    boxes: Tensor
    mask: Tensor
    kinds: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> "RegionFeatures":
        """All parts changed alike."""
        kinds = None if self.kinds is None else change(self.kinds)
        return RegionFeatures(change(self.features), change(self.boxes), change(self.mask), kinds)


def grid_boxes(rows: int, columns: int) -> Tensor:
    """Boxes of a regular grid over the whole image, row by row.

    Args:
        rows: cells from top to bottom.
        columns: cells from left to right.

    Returns:
        ``(rows * columns, 4)`` as x0 y0 x1 y1 in [0, 1].
    """
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corners = torch.stack([x, y, x + 1, y + 1], dim=-1).reshape(-1, 4)
    return corners / torch.tensor([columns, rows, columns, rows])
