"""A feature cache is whole or absent, however its writing ends and however many write it."""

import json
import os
import pickle
import re
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch

from vlm.data.features import FeatureCache, fingerprint
from vlm.errors import InputError
from vlm.regions import RegionFeatures, grid_boxes

IMAGES, ROWS, COLUMNS, WIDTH = 7, 2, 3, 5
FEATURES = torch.randn(IMAGES, ROWS * COLUMNS, WIDTH, generator=torch.Generator().manual_seed(0))


def regions(features: torch.Tensor) -> RegionFeatures:
    boxes = grid_boxes(ROWS, COLUMNS).expand(len(features), -1, -1)
    return RegionFeatures(features, boxes, torch.ones(features.shape[:2], dtype=torch.bool))


def batches(features: torch.Tensor = FEATURES) -> Iterator[RegionFeatures]:
    yield from (regions(part) for part in features.split(3))


def test_features_are_kept_to_the_rounding_of_16_bit_floats(tmp_path):
    cache = FeatureCache.write(tmp_path / "deep/er/cache", batches(), images=IMAGES)
    assert len(cache) == IMAGES
    for index in range(IMAGES):
        assert cache[index].dtype == torch.float16
        assert torch.equal(cache[index], FEATURES[index].half())
    kept = cache.batch([cache[4], cache[1]])
    assert kept.features.dtype == torch.float32
    torch.testing.assert_close(kept.features, FEATURES[[4, 1]], rtol=2**-11, atol=1e-7)
    assert torch.equal(kept.boxes, regions(FEATURES[:2]).boxes)
    assert kept.mask.shape == (2, ROWS * COLUMNS)
    assert kept.mask.all()


def test_a_cache_is_found_again(tmp_path):
    written = FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
    found = FeatureCache(tmp_path / "cache")
    assert all(torch.equal(found[index], written[index]) for index in range(IMAGES))
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_pickled_cache_carries_no_features(tmp_path):
    """A worker process that is not forked maps the same files."""
    cache = FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
    content = pickle.dumps(cache)
    assert len(content) < 500
    assert torch.equal(pickle.loads(content)[5], cache[5])


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def broken_off() -> Iterator[RegionFeatures]:
        yield next(batches())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FeatureCache.write(tmp_path / "cache", broken_off(), images=IMAGES)
    assert list(tmp_path.iterdir()) == []
    assert len(FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)) == IMAGES


def _killed(folder: Path) -> None:
    def killing() -> Iterator[RegionFeatures]:
        yield next(batches(FEATURES + 99))
        os._exit(9)

    FeatureCache.write(folder, killing(), images=IMAGES)


def test_a_killed_writer_harms_no_later_one(tmp_path):
    process = get_context("fork").Process(target=_killed, args=(tmp_path / "cache",))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    cache = FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
    assert torch.equal(cache[0], FEATURES[0].half())


def test_two_writers_at_once_get_the_same_whole_cache(tmp_path):
    def overtaken() -> Iterator[RegionFeatures]:
        first, *rest = batches()
        yield first
        FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
        yield from rest

    cache = FeatureCache.write(tmp_path / "cache", overtaken(), images=IMAGES)
    assert all(torch.equal(cache[index], FEATURES[index].half()) for index in range(IMAGES))
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (FEATURES[:4], ValueError, "expected features of 7 images, got 4"),
        (FEATURES * 1e6, InputError, "not finite as 16-bit floats.*; remove data.cache"),
        (FEATURES * float("nan"), InputError, "not finite as 16-bit floats"),
    ],
)
def test_wrong_features_are_not_kept(tmp_path, wrong, error, message):
    with pytest.raises(error, match=message):
        FeatureCache.write(tmp_path / "cache", batches(wrong), images=IMAGES)
    assert list(tmp_path.iterdir()) == []


def test_a_changing_grid_is_not_kept(tmp_path):
    changing = iter([regions(FEATURES[:3]), regions(FEATURES[3:, :4])])
    with pytest.raises(ValueError, match=r"features \(6, 5\) of every image, got \(4, 5\)"):
        FeatureCache.write(tmp_path / "cache", changing, images=IMAGES)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    message = f"feature cache {tmp_path / 'file/cache'} cannot be written (Not a directory); make"
    with pytest.raises(InputError, match=f"^{re.escape(message)} room or name another folder"):
        FeatureCache.write(tmp_path / "file/cache", batches(), images=IMAGES)


def _cut(folder: Path) -> None:
    content = (folder / "features.npy").read_bytes()
    (folder / "features.npy").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "index.json").unlink(),
        lambda folder: (folder / "index.json").write_text('{"images"'),
        lambda folder: (folder / "index.json").write_text("{}"),
        lambda folder: (folder / "index.json").write_text("[]"),
        lambda folder: (folder / "index.json").write_text(json.dumps({"images": 8})),
        lambda folder: (folder / "boxes.npy").write_bytes(b""),
        lambda folder: (folder / "features.npy").unlink(),
        _cut,
    ],
)
def test_a_damaged_cache_is_told(tmp_path, damage):
    FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
    damage(tmp_path / "cache")
    with pytest.raises(InputError, match=r"^feature cache .*cache .*; remove it and it is made ag"):
        FeatureCache(tmp_path / "cache")


def test_the_fingerprint_follows_all_that_features_depend_on(tmp_path):
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for path in paths:
        path.write_bytes(b"123")
        os.utime(path, ns=(0, 1_000))
    prints = [
        fingerprint("w", "g", paths),
        fingerprint("x", "g", paths),
        fingerprint("w", "h", paths),
        fingerprint("w", "g", paths[:1]),
        fingerprint("w", "g", paths[::-1]),
    ]
    os.utime(paths[0], ns=(0, 2_000))
    prints.append(fingerprint("w", "g", paths))
    paths[1].write_bytes(b"1234")
    prints.append(fingerprint("w", "g", paths))
    paths[1].unlink()
    prints.append(fingerprint("w", "g", paths))
    assert len(set(prints)) == len(prints)
    assert fingerprint("w", "g", paths) == prints[-1]


def test_the_fingerprint_does_not_depend_on_the_working_folder(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    assert fingerprint("w", "g", [Path("a.jpg")]) == fingerprint("w", "g", [tmp_path / "a.jpg"])


def test_the_array_on_disk_is_plain_numpy(tmp_path):
    FeatureCache.write(tmp_path / "cache", batches(), images=IMAGES)
    array = np.load(tmp_path / "cache/features.npy")
    assert array.shape == (IMAGES, ROWS * COLUMNS, WIDTH)
    assert array.dtype == np.float16
