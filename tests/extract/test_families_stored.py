"""A dozen families of timm's models through a store, against the backbone itself."""

from pathlib import Path

import pytest
import torch
from photos import extraction, write_photos

from vlm.extract import geometry_of
from vlm.models import FrozenBackbone

FAMILIES = [  # the smallest quick ones of a dozen of timm's modules
    "test_byobnet",
    "test_convnext",
    "test_efficientnet",
    "test_mambaout",
    "test_nfnet",
    "test_resnet",
    "test_vit",
    "test_vit4",
    "ghostnet_050",
    "hiera_tiny_224",
    "levit_128s",
    "mobilevit_xxs",
    "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224",
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("families") / "photos", images=3)


@pytest.mark.parametrize("name", FAMILIES)
def test_stored_features_are_the_backbones_to_16_bits(name: str, photos: Path, tmp_path: Path):
    torch.manual_seed(0)
    backbone = FrozenBackbone(name, pretrained=False)
    store = extraction(photos, tmp_path / "store", backbone, batch_size=3).run()
    pixels = torch.stack([geometry_of(backbone).load(photos / image_id) for image_id in store])
    direct = backbone(pixels.float() / 255)
    kept = store.batch(range(3))
    scale = direct.features.abs().max().item()
    # Half a unit of the 16-bit numbers, which near zero is a fixed step, and what folded batch
    # norms round otherwise.
    smallest = 2**-25 + 1e-5 * scale
    torch.testing.assert_close(
        kept.features.float(), direct.features, rtol=2**-11 * 1.01, atol=smallest
    )
    assert torch.equal(kept.boxes, direct.boxes)
