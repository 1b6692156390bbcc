"""Pixels to regions as a store keeps them: cells of the grid, and boxes where they are given."""

from collections.abc import Sequence

import numpy as np
import torch

from vlm.data.images import ImageGeometry
from vlm.data.store.shard import Regions
from vlm.extract.loading import LoadedView, boxes_of_image
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
def look(
    backbone: FrozenBackbone, views: Sequence[LoadedView], *, with_boxes: bool
) -> list[Regions]:
    """The regions of a batch of views, one backbone pass for cells and boxes together.

    Args:
        backbone: on the device that does the work.
        views: of images.
        with_boxes: whether each region has a box and a kind of its own.
    """
    device = backbone.mean.device
    pixels = torch.stack([view.pixels for view in views]).to(device, non_blocking=True)
    feature_map = backbone.feature_map(pixels.to(backbone.mean.dtype) / 255)
    grid = backbone.regions(feature_map)
    cells = grid.features.half().cpu().numpy()
    if not with_boxes:
        return [Regions(features) for features in cells]
    boxed = box_features(feature_map, [view.boxes.to(device) for view in views])
    return [
        _together(view, features, found.half().cpu().numpy(), grid.boxes[0])
        for view, features, found in zip(views, cells, boxed, strict=True)
    ]


def _together(
    view: LoadedView, cells: np.ndarray, boxed: np.ndarray, grid_boxes: torch.Tensor
) -> Regions:
    """Cells first, then boxes, all placed in the original image."""
    boxes = torch.cat([grid_boxes.cpu(), view.boxes])
    kinds = np.repeat(np.array([0, 1], np.uint8), [len(cells), len(boxed)])
    placed = boxes_of_image(view.crop, boxes).numpy()
    return Regions(np.concatenate([cells, boxed]), placed, kinds)
