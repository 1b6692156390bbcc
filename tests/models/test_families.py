"""Every family of timm's models through FrozenBackbone: one model of each of timm's modules."""

import re
from collections import defaultdict

import pytest
import timm
import torch

from vlm.models.backbone import FrozenBackbone

SIZES = ["test", "zepto", "atto", "femto", "pico", "nano", "xxs", "xx_small", "xxtiny", "xs"]
SIZES += ["mini", "micro", "tiny", "small"]
META_EXCEPTIONS = {
    "gemma4_vit": "reads a tensor's value while it is made, and meta tensors have none",
    "sequencer": "its LSTMs are taken apart step by step on meta, which takes half a minute",
}
REAL = [  # the fast ones: convolutions, windows, tokens with and without prefixes, mixers, hybrids
    "byobnet",
    "convnext",
    "efficientnet",
    "eva",
    "ghostnet",
    "hiera",
    "levit",
    "mambaout",
    "maxxvit",
    "mobilevit",
    "nfnet",
    "vision_transformer",
    "vision_transformer_hybrid",
]


def smallness(name: str) -> tuple[int, int, int, str]:
    """Sorts by the word for a size in the name, then by image size, then by shortness."""
    words = (i for i, word in enumerate(SIZES) if re.search(rf"(^|_){word}(_|\d|$)", name))
    cfg = timm.get_pretrained_cfg(name)
    return next(words, len(SIZES)), cfg.input_size[-1] if cfg else 224, len(name), name


def smallest_of_each_family() -> dict[str, str]:
    """Model by family, a family being a module of ``timm.models``."""
    families: dict[str, list[str]] = defaultdict(list)
    for name in timm.list_models():
        families[timm.model_entrypoint(name).__module__.removeprefix("timm.models.")].append(name)
    return {family: min(families[family], key=smallness) for family in sorted(families)}


FAMILIES = smallest_of_each_family()
SAMPLE = list(FAMILIES)[::6]


def look(name: str, device: str) -> None:
    with torch.device(device):
        backbone = FrozenBackbone(name, pretrained=False)
        regions = backbone(torch.full((1, 3, *backbone.image_size), 0.5))
    count = backbone.grid[0] * backbone.grid[1]
    assert count > 1
    assert regions.features.shape == (1, count, backbone.width)
    assert regions.boxes.shape == (1, count, 4)
    assert regions.mask.shape == (1, count)
    assert regions.features.device.type == device
    if device == "cpu":
        assert regions.features.isfinite().all()
        assert regions.mask.all()


def test_the_walk_covers_timm():
    assert len(FAMILIES) >= 98
    assert set(REAL) | set(META_EXCEPTIONS) <= set(FAMILIES)


@pytest.mark.parametrize("family", [f for f in SAMPLE if f not in META_EXCEPTIONS])
def test_a_sample_of_families_on_the_meta_device(family):
    look(FAMILIES[family], "meta")


@pytest.mark.parametrize("family", REAL)
def test_families_for_real(family):
    look(FAMILIES[family], "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("family", [f for f in FAMILIES if f not in META_EXCEPTIONS])
def test_every_family_on_the_meta_device(family):
    look(FAMILIES[family], "meta")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_for_real(family):
    look(FAMILIES[family], "cpu")
