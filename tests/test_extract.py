"""Features are extracted once, equal the backbone's own, and name every bad image."""

import os
import re
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlm.data.features import FeatureCache
from vlm.errors import InputError
from vlm.extract import extract, geometry_of
from vlm.models.backbone import FrozenBackbone

IMAGES = 7


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    """A network of timm's own tests, on images that are not square."""
    torch.manual_seed(0)
    return FrozenBackbone("test_resnet.r160_in1k", pretrained=False, image_size=(96, 64))


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    rng = np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{number}.png" for number in range(IMAGES)]
    for number, file in enumerate(files):
        pixels = rng.integers(0, 256, (53 + number, 71, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file)
    return files


def folders(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir()] if cache.exists() else []


@pytest.mark.parametrize("workers", [0, 2])
def test_cached_features_are_the_backbones(tmp_path, backbone, paths, workers):
    cache = extract(backbone, paths, tmp_path / "cache", batch_size=3, workers=workers)
    assert backbone.grid == (3, 2)
    pixels = torch.stack([geometry_of(backbone).load(path) for path in paths])
    direct = backbone(pixels.float() / 255)
    kept = cache.batch([cache[index] for index in range(IMAGES)])
    torch.testing.assert_close(kept.features, direct.features, rtol=2**-10, atol=1e-5)
    assert torch.equal(kept.boxes, direct.boxes)
    assert torch.equal(kept.mask, direct.mask)
    assert not torch.allclose(kept.features[0], kept.features[1])


def test_no_image_is_looked_at_twice(tmp_path, backbone, paths, monkeypatch):
    first = extract(backbone, paths, tmp_path / "cache")
    monkeypatch.setattr(FeatureCache, "write", None)
    again = extract(backbone, paths, tmp_path / "cache")
    assert torch.equal(first[5], again[5])
    assert len(folders(tmp_path / "cache")) == 1


def test_a_changed_image_is_looked_at_again(tmp_path, backbone, paths):
    before = extract(backbone, paths, tmp_path / "cache")
    Image.new("RGB", (31, 37), "red").save(paths[2])
    after = extract(backbone, paths, tmp_path / "cache")
    changed = [i for i in range(IMAGES) if not torch.allclose(before[i], after[i], atol=1e-3)]
    assert changed == [2]
    assert len(folders(tmp_path / "cache")) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_all_bad_images_are_named_and_nothing_is_kept(tmp_path, backbone, paths, workers):
    paths[1].write_bytes(paths[1].read_bytes()[:300])
    paths[4].unlink()
    with pytest.raises(InputError) as told:
        extract(backbone, paths, tmp_path / "cache", batch_size=2, workers=workers)
    text = str(told.value)
    assert text.startswith("2 of 7 images of the set cannot be used: ")
    assert re.search(rf"image {re.escape(str(paths[1]))} cannot be read \(.*\); restore or", text)
    assert f"image {paths[4]} does not exist; check the path" in text
    assert folders(tmp_path / "cache") == []


def test_a_restored_image_is_enough(tmp_path, backbone, paths):
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[:300])
    with pytest.raises(InputError):
        extract(backbone, paths, tmp_path / "cache")
    paths[1].write_bytes(content)
    assert len(extract(backbone, paths, tmp_path / "cache")) == IMAGES


def test_what_a_killed_run_left_is_never_read(tmp_path, backbone, paths):
    whole = extract(backbone, paths, tmp_path / "whole")
    (name,) = folders(tmp_path / "whole")
    left = tmp_path / "cache" / f"{name}.0123.partial"
    left.mkdir(parents=True)
    for file in (tmp_path / "whole" / name).iterdir():
        (left / file.name).write_bytes(b"half")
    again = extract(backbone, paths, tmp_path / "cache")
    assert all(torch.equal(again[index], whole[index]) for index in range(IMAGES))


def _extract_in_a_process(backbone: FrozenBackbone, paths: list[Path], cache: Path) -> None:
    torch.set_num_threads(1)
    os._exit(0 if len(extract(backbone, paths, cache, batch_size=2)) == IMAGES else 1)


def test_two_processes_may_extract_the_same_at_once(tmp_path, backbone, paths):
    fork = get_context("fork")
    torch.set_num_threads(1)
    arguments = (backbone, paths, tmp_path / "cache")
    processes = [fork.Process(target=_extract_in_a_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(folders(tmp_path / "cache")) == 1
    alone = extract(backbone, paths, tmp_path / "alone", batch_size=2)
    shared = extract(backbone, paths, tmp_path / "cache")
    assert all(torch.equal(shared[index], alone[index]) for index in range(IMAGES))


def test_progress_names_the_backbone_and_counts_images(tmp_path, backbone, paths, capsys):
    extract(backbone, paths, tmp_path / "cache")
    progress = capsys.readouterr().err
    assert "features of test_resnet.r160_in1k: 100%" in progress
    assert re.search(r" 7/7 .* images/s\]", progress)
    extract(backbone, paths, tmp_path / "cache")
    assert capsys.readouterr().err == ""


def test_real_photos_through_real_weights(shared, tmp_path):
    name = f"local-dir:{shared / 'weights/tf_efficientnet_lite0'}"
    backbone = FrozenBackbone(name)
    paths = sorted((shared / "data/coco/images").glob("*.jpg"))[:3]
    cache = extract(backbone, paths, tmp_path)
    assert cache[0].shape == (backbone.grid[0] * backbone.grid[1], backbone.width)
    assert all(torch.isfinite(cache[index]).all() for index in range(3))
