"""RoIAlign over a map: by hand, by equalities and invariances."""

import pytest
import torch
from torch import Tensor

from vlm.models.box_regions import box_features
from vlm.regions import grid_boxes

ROWS, COLUMNS = 7, 11


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(5))


def some_boxes(count: int) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(count))
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


def ramps() -> Tensor:
    """The horizontal and the vertical place of each cell's centre, in [0, 1] of the image."""
    x = (torch.arange(COLUMNS) + 0.5) / COLUMNS
    y = (torch.arange(ROWS) + 0.5) / ROWS
    return torch.stack([x.expand(ROWS, -1), y[:, None].expand(-1, COLUMNS)])[None]


def test_a_constant_map_gives_its_constant():
    grid = torch.tensor([2.0, -3, 5])[None, :, None, None].expand(1, -1, ROWS, COLUMNS)
    [found] = box_features(grid, [some_boxes(13)])
    torch.testing.assert_close(found, grid[0, :, 0, 0].expand(13, -1))


def test_a_ramp_gives_the_centre_of_the_box():
    # Half a cell from the borders, where the map is continued by its last value.
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.9], [0.55, 0.2, 0.91, 0.35], [0.2, 0.4, 0.21, 0.42]])
    [found] = box_features(ramps(), [boxes])
    torch.testing.assert_close(found, (boxes[:, :2] + boxes[:, 2:]) / 2)


def test_cells_of_a_ramp_are_its_values():
    inner = grid_boxes(ROWS, COLUMNS).view(ROWS, COLUMNS, 4)[1:-1, 1:-1].reshape(-1, 4)
    [found] = box_features(ramps(), [inner])
    torch.testing.assert_close(found, ramps()[0, :, 1:-1, 1:-1].flatten(1).T)


def test_a_cell_is_three_quarters_its_own():
    """Bilinear weights over a cell: the mean of 1 - |t| for t in [-0.5, 0.5] is 3/4."""
    grid = noise(1, 3, ROWS, COLUMNS)
    kernel = torch.tensor([1 / 8, 3 / 4, 1 / 8])
    kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
    expected = torch.nn.functional.conv2d(grid, kernel, groups=3)[0].flatten(1).T
    inner = grid_boxes(ROWS, COLUMNS).view(ROWS, COLUMNS, 4)[1:-1, 1:-1].reshape(-1, 4)
    [found] = box_features(grid, [inner])
    torch.testing.assert_close(found, expected)


def test_the_whole_image_is_nearly_the_mean():
    grid = noise(1, 5, 13, 17)
    [found] = box_features(grid, [torch.tensor([[0.0, 0, 1, 1]])])
    torch.testing.assert_close(found[0], grid[0].mean(dim=(1, 2)), atol=0.05, rtol=0)


def test_permuting_boxes_permutes_features():
    grid, boxes = noise(1, 5, ROWS, COLUMNS), some_boxes(7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    assert torch.equal(box_features(grid, [boxes[order]])[0], box_features(grid, [boxes])[0][order])


def test_a_batch_is_its_images_one_by_one():
    grid, boxes = noise(3, 5, ROWS, COLUMNS), [some_boxes(2), some_boxes(0), some_boxes(11)]
    together = box_features(grid, boxes)
    assert [part.shape for part in together] == [(2, 5), (0, 5), (11, 5)]
    for found, one, part in zip(together, grid, boxes, strict=True):
        assert torch.equal(found, box_features(one[None], [part])[0])


def test_channels_last_maps_give_the_same():
    grid, boxes = noise(2, 5, ROWS, COLUMNS), [some_boxes(2), some_boxes(3)]
    folded = grid.contiguous(memory_format=torch.channels_last)
    for found, expected in zip(box_features(folded, boxes), box_features(grid, boxes), strict=True):
        torch.testing.assert_close(found, expected)


def test_images_without_boxes_have_no_features():
    assert [part.shape for part in box_features(noise(1, 5, 3, 2), [torch.empty(0, 4)])] == [(0, 5)]
    assert box_features(noise(0, 5, 3, 2), []) == []


def test_tiny_boxes_are_finite():
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1.0, 1, 1, 1], [0, 0, 1e-9, 1e-9], [0, 0, 1, 0]])
    assert box_features(noise(1, 5, ROWS, COLUMNS), [boxes])[0].isfinite().all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_floats_are_only_rounded(kind):
    grid, boxes = noise(1, 5, ROWS, COLUMNS).to(kind), [some_boxes(7)]
    assert torch.equal(box_features(grid, boxes)[0], box_features(grid.float(), boxes)[0].to(kind))


def test_double_floats_stay():
    grid, boxes = noise(1, 5, ROWS, COLUMNS).double(), [some_boxes(7)]
    [found] = box_features(grid, boxes)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), box_features(grid.float(), boxes)[0])


def test_boxes_that_do_not_belong_to_the_batch_are_refused():
    with pytest.raises(ValueError, match="expected boxes for each of 2 images, got 1"):
        box_features(noise(2, 5, 3, 2), [some_boxes(1)])
    with pytest.raises(ValueError, match=r"expected boxes \(n, 4\) of an image, got \(3, 5\)"):
        box_features(noise(1, 5, 3, 2), [torch.zeros(3, 5)])
