"""Folding changes how a network computes, not what."""

import pytest
import timm
import torch
from torch import Tensor, nn

from vlm.models import FrozenBackbone
from vlm.models.folding import fold_batch_norms

FAMILIES = [
    "test_resnet",
    "test_efficientnet",
    "test_byobnet",
    "tf_efficientnet_lite0",
    "resnet10t",
]


def enlivened(model: nn.Module) -> nn.Module:
    """Batch norms that do something."""
    generator = torch.Generator().manual_seed(5)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features, generator=generator) / 5
            part.running_var = torch.rand(part.num_features, generator=generator) + 0.5
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_function_with_fewer_norms(name):
    torch.manual_seed(1)
    model = enlivened(timm.create_model(name, num_classes=0))
    before = norms(model)
    image = torch.rand(2, 3, 96, 96)
    folded = fold_batch_norms(model, lambda m: m.forward_features(image[:1]))
    assert norms(model) == before, "the model itself stays"
    assert norms(folded) < before / 2
    other = model.forward_features(image)
    error = (folded.forward_features(image) - other).norm() / other.norm()
    assert error < 1e-5


def test_a_network_without_batch_norms_is_itself():
    model = timm.create_model("test_vit", num_classes=0).eval()
    assert (
        fold_batch_norms(model, lambda m: m.forward_features(torch.rand(1, 3, 160, 160))) is model
    )


class Twice(nn.Module):
    """A convolution whose output is normed, and used once more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> Tensor:
        found = self.conv(image)
        return found + self.bn(found)


def test_an_output_that_goes_elsewhere_too_is_left_alone():
    model = enlivened(Twice())
    assert fold_batch_norms(model, lambda m: m(torch.rand(1, 3, 5, 7))) is model


def test_a_folded_backbone_is_the_same_backbone():
    torch.manual_seed(0)
    backbone = FrozenBackbone("test_resnet", pretrained=False)
    enlivened(backbone._model)
    folded = backbone.folded()
    assert folded.hash == backbone.hash
    images = torch.rand(2, 3, *backbone.image_size)
    torch.testing.assert_close(folded(images).features, backbone(images).features)
    assert norms(folded._model) < norms(backbone._model)
