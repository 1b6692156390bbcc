"""docs/backbones.md holds what scripts/backbones.py computes, and timm can fetch all it names."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm

from vlm.data.folders import list_images
from vlm.extract import Extraction
from vlm.formats.image_list import listed
from vlm.models import FrozenBackbone

ROOT = Path(__file__).resolve().parents[1]
DOC = (ROOT / "docs" / "backbones.md").read_text().splitlines()
script = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "backbones.py")))
SMALL = [
    choice
    for choice in script.CHOICES
    if choice.name.startswith(("tf_efficientnet_lite0", "vit_tiny", "resnet50_clip"))
]


@pytest.mark.parametrize("choice", SMALL, ids=lambda choice: f"{choice.name} {choice.options}")
def test_the_rows_of_small_models_are_what_the_script_computes(choice):
    found = script.look(choice)
    assert script.row(choice, found) in DOC
    assert DOC.index(f"## {found.tier}") < DOC.index(script.row(choice, found))


@pytest.mark.slow
def test_the_document_ends_with_the_whole_output():
    assert "\n".join(DOC).endswith("\n\n".join(script.tables(script.CHOICES)))


def test_every_choice_has_a_row_and_weights_to_fetch():
    assert {choice.name for choice in script.CHOICES} <= set(timm.list_pretrained())
    rows = [line for line in DOC if line.startswith("| `")]
    named = [
        (found[1], found[2] or "")
        for line in rows
        if (found := re.match(r"\| `(.+?)`(?: `(.+?)`)? \|", line))
    ]
    assert sorted(named) == sorted((choice.name, choice.options) for choice in script.CHOICES)


def test_a_grid_without_weights_is_the_grid_with_weights():
    found = script.look(script.Choice("test_resnet.r160_in1k", image_size=96, pool=2))
    backbone = FrozenBackbone("test_resnet.r160_in1k", pretrained=False, image_size=96, pool=2)
    assert (found.image_size, found.grid) == (backbone.image_size, backbone.grid)
    assert found.width == backbone.width


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_sizes_are_those_of_real_shards(dtype: str, tiny_world: Path, tmp_path: Path):
    choice = script.Choice("test_resnet.r160_in1k")
    backbone = FrozenBackbone(choice.name, pretrained=False)
    photos = list_images(tiny_world / "images")[:8]
    images = listed(photos, tiny_world / "images")
    Extraction(images, backbone, tmp_path / "store", dtype=dtype, batch_size=2).run()
    (shard,) = (tmp_path / "store").rglob("*.bin")
    footer = 8 + int.from_bytes(shard.read_bytes()[-8:], "little")
    expected = script.look(choice).store_bytes(dtype) * len(photos) / script.COCO_IMAGES
    assert shard.stat().st_size - footer == expected
