"""Pixels to regions as a store keeps them: cells of the grid, and boxes where they are given."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlm.data.images import ImageGeometry
from vlm.data.store.shard import Regions
from vlm.extract.loading import Batch, boxes_of_image
from vlm.models.backbone import FrozenBackbone
from vlm.models.box_regions import box_features
from vlm.models.imported import ImportedRegions


def geometry_of(backbone: FrozenBackbone | ImportedRegions) -> ImageGeometry:
    """The image geometry that a backbone asks for.

    Raises:
        InputError: if regions were imported, so that no photo can be looked at.
    """
    if isinstance(backbone, ImportedRegions):
        backbone.refuse_photos()
    return ImageGeometry(*backbone.image_size, backbone.interpolation)


@torch.inference_mode()
def look(backbone: FrozenBackbone, batch: Batch, *, with_boxes: bool) -> list[Regions]:
    """The regions of a batch of views, one backbone pass for cells and boxes together.

    Args:
        backbone: on the device that does the work.
        batch: of views.
        with_boxes: whether each region has a box and a kind of its own.

    Returns:
        those of each view that can be used.
    """
    device = backbone.mean.device
    pixels = batch.pixels.to(device, non_blocking=True)
    feature_map = backbone.feature_map(pixels.to(backbone.mean.dtype) / 255)
    grid = backbone.regions(feature_map)
    cells = grid.features.half().cpu().numpy()
    if not with_boxes:
        return [Regions(features) for features in cells]
    seen = [view for view in batch.views if not isinstance(view, str)]
    counts = [view.boxes for view in seen]
    boxes = batch.boxes.split(counts)
    found = torch.cat(box_features(feature_map, [part.to(device) for part in boxes]))
    boxed = np.split(found.half().cpu().numpy(), np.cumsum(counts)[:-1])
    grid_boxes = grid.boxes[0].cpu()
    return [
        _together(view.crop, torch.cat([grid_boxes, part]), features, more)
        for view, part, features, more in zip(seen, boxes, cells, boxed, strict=True)
    ]


def _together(
    crop: tuple[float, float, float, float], boxes: Tensor, cells: NDArray, boxed: NDArray
) -> Regions:
    """Cells first, then boxes, all placed in the original image."""
    kinds = np.repeat(np.array([0, 1], np.uint8), [len(cells), len(boxed)])
    return Regions(np.concatenate([cells, boxed]), boxes_of_image(crop, boxes).numpy(), kinds)
