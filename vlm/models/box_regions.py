"""Features of boxes: RoIAlign over a backbone's own map."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align

BINS = 7
"""Bins a side that a box is cut into before it is averaged, as in He et al."""
SAMPLES = 2
"""Bilinear samples a side of each bin; the paper found little difference from four in all on."""


def box_features(grid: Tensor, boxes: Sequence[Tensor]) -> list[Tensor]:
    """What a feature map shows inside boxes: RoIAlign (He et al. 2017, arXiv:1703.06870).

    The map covers the whole image, so a box in [0, 1] times (columns, rows) is a box on the
    map, whatever the stride. Cell ``i`` spans ``[i, i + 1]``, its value stands at its centre,
    and nothing is rounded (torchvision's ``aligned=True``). A box is sampled at 14 x 14
    points, bilinearly, and their mean is its feature: that of the 7 x 7 bins of 2 x 2 samples.

    Args:
        grid: ``(B, D, rows, columns)`` feature map of whole images, neither cut nor padded.
        boxes: for each image ``(n_i, 4)`` as x0 y0 x1 y1 in [0, 1] of it; ``n_i`` may be 0.

    Returns:
        for each image ``(n_i, D)``, in the type of ``grid``, its boxes in the order given.

    Raises:
        ValueError: if there are not boxes for each image, or they are not of that shape.
    """
    if len(boxes) != len(grid):
        raise ValueError(f"expected boxes for each of {len(grid)} images, got {len(boxes)}")
    wrong = [tuple(part.shape) for part in boxes if part.ndim != 2 or part.shape[1] != 4]
    if wrong:
        raise ValueError(f"expected boxes (n, 4) of an image, got {wrong[0]}")
    if not boxes:
        return []
    rows, columns = grid.shape[-2:]
    # Half floats lack the precision, and bfloat16 the kernel.
    exact = grid if grid.dtype == torch.float64 else grid.float()
    scale = exact.new_tensor([columns, rows, columns, rows])
    placed = [part.to(exact) * scale for part in boxes]
    bins = roi_align(exact, placed, BINS, sampling_ratio=SAMPLES, aligned=True)
    features = bins.mean(dim=(2, 3)).to(grid.dtype)
    return list(features.split([len(part) for part in boxes]))
