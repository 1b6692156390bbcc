"""A store gives back what was written, says what it was made with, and never lies."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from stores import GRID, MANIFEST, PART, WIDTH, made_up, write_store

from vlm.data import FeatureStore
from vlm.data.store.names import NameTable
from vlm.data.store.shard import Regions, quantise
from vlm.errors import InputError
from vlm.regions import grid_boxes

IDS = [7, "7", "a.jpg", 42, "sub/b.jpg", 2**40, "ü.png"]


def changed(folder: Path, **values: object) -> None:
    """Other values in a manifest."""
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


# --- what was written ------------------------------------------------------------------------


def test_images_come_back_by_id(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", IDS))
    assert len(store) == 7
    assert list(store) == IDS
    for row, image_id in enumerate(IDS):
        regions = store[image_id]
        assert regions.features.dtype == torch.float16
        assert torch.equal(regions.features[0], torch.from_numpy(made_up(row, 0).features).half())
        assert torch.equal(regions.boxes[0], grid_boxes(*GRID))
        assert regions.mask.all()
        assert regions.kinds is None
        assert store.size(image_id) == (17 + row, 19)
        assert image_id in store
    assert "b.jpg" not in store


def test_views_lie_where_their_crop_lies(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", IDS, views=2), views=2)
    regions = store.batch([3, 5], [1, 0])
    assert torch.equal(regions.features[0], torch.from_numpy(made_up(3, 1).features).half())
    assert torch.equal(regions.features[1], torch.from_numpy(made_up(5, 0).features).half())
    x0, y0, x1, y1 = PART
    across, down = (x1 - x0) / GRID[1], (y1 - y0) / GRID[0]
    last = torch.tensor([x1 - across, y1 - down, x1, y1])
    torch.testing.assert_close(regions.boxes[0, -1], last)
    torch.testing.assert_close(regions.boxes[0, 0], torch.tensor([x0, y0, x0 + across, y0 + down]))
    assert torch.equal(regions.boxes[1], grid_boxes(*GRID))
    assert torch.equal(store["a.jpg"].features, store.batch([2]).features), "view 0 by default"


def boxed(row: int, view: int) -> Regions:
    """As many regions as the row says, and one."""
    numbers = np.arange((row + 1) * WIDTH, dtype=np.float32).reshape(row + 1, WIDTH) + row
    boxes = np.linspace(0, 1, (row + 1) * 4, dtype=np.float32).reshape(row + 1, 4)
    return Regions(numbers, boxes, np.array([0] + [1] * row, np.uint8))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_images_of_different_numbers_of_regions(tmp_path, dtype):
    store = FeatureStore(
        write_store(tmp_path / "store", IDS, regions=boxed, grid=None, boxes="b", dtype=dtype)
    )
    regions = store.batch([4, 0, 6])
    assert regions.mask.sum(dim=1).tolist() == [5, 1, 7]
    assert regions.features.shape == (3, 7, WIDTH)
    for row, found, count in zip((4, 0, 6), regions.features, (5, 1, 7), strict=True):
        expected = torch.from_numpy(boxed(row, 0).features)
        torch.testing.assert_close(found[:count].float(), expected, atol=0.2, rtol=0.02)
        assert not found[count:].any()
    assert regions.kinds is not None
    assert regions.kinds[0].tolist() == [0, 1, 1, 1, 1, 0, 0]
    torch.testing.assert_close(regions.boxes[2], torch.from_numpy(boxed(6, 0).boxes))


def test_a_skipped_image_is_not_there_and_says_why(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", IDS, skipped=[2, 4]))
    assert list(store) == [7, "7", 42, 2**40, "ü.png"]
    assert len(store) == 5
    assert "a.jpg" not in store
    assert torch.equal(store[42].features[0], torch.from_numpy(made_up(3, 0).features).half())
    with pytest.raises(InputError, match=r"no features of image 'a\.jpg': image a\.jpg is empty"):
        _ = store["a.jpg"]
    skipped = json.loads((tmp_path / "store/manifest.json").read_text())["skipped"]
    assert [entry["image_id"] for entry in skipped] == ["a.jpg", "sub/b.jpg"]


def test_files_are_found_where_ids_are_not_known(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", ["a.jpg", "sub/b.jpg"]))
    assert store.row(17, "sub/b.jpg") == 1
    assert store.row("sub/b.jpg", "sub/b.jpg") == 1
    with pytest.raises(
        InputError, match=r"knows image 'a\.jpg' as a\.jpg, not c\.jpg; it was made"
    ):
        store.row("a.jpg", "c.jpg")
    with pytest.raises(InputError, match=r"knows image 'sub/b\.jpg' as sub/b\.jpg, not other/b"):
        store.row("sub/b.jpg", "other/b.jpg")
    assert store.row("sub/b.jpg", "b.jpg") == store.row("sub/b.jpg", "deep/sub/b.jpg") == 1
    with pytest.raises(InputError, match=r"has no image 17; extract one that has, or leave"):
        store.row(17, "gone.jpg")


# --- 8 bits ----------------------------------------------------------------------------------


def test_the_largest_numbers_stay_finite():
    codes, scales = quantise(np.array([[65504, -65504, 1]], np.float32))
    kept = torch.from_numpy(codes).half() * torch.from_numpy(scales)[:, None]
    assert kept.isfinite().all()
    assert abs(kept[0, 0].item() - 65504) < 65504 / 127


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-6, 1e-2, 1.0, 30.0, 5e4]))
def test_codes_are_near_the_numbers(seed, scale):
    features = np.random.default_rng(seed).normal(size=(7, 41)).astype(np.float32) * scale
    features = np.clip(features, -6e4, 6e4)
    codes, scales = quantise(features)
    assert codes.dtype == np.int8
    assert np.abs(codes).max() <= 127
    kept = codes.astype(np.float32) * scales.astype(np.float32)[:, None]
    peaks = np.abs(features).max(axis=1, keepdims=True)
    # Half a step of the code; the scale itself is a 16-bit float, coarse near zero.
    assert (np.abs(kept - features) <= peaks * 0.0046 + 127 * 2**-24).all()


def test_zeros_stay_zeros():
    codes, scales = quantise(np.zeros((2, 3), np.float32))
    assert not codes.any()
    assert not scales.any()


# --- processes -------------------------------------------------------------------------------


def _first(store: FeatureStore) -> float:
    return store.batch([6]).features[0, 0, 0].item()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes_read_it(tmp_path, method):
    store = FeatureStore(write_store(tmp_path / "store", IDS))
    expected = _first(store)
    assert len(pickle.dumps(store)) < 500, "a pickled store carries no features"
    with get_context(method).Pool(1) as pool:
        assert pool.apply(_first, (store,)) == expected


# --- names -----------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.integers(0, 10**15), st.text(min_size=1)), unique=True, min_size=1))
def test_every_name_is_found_in_its_row(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    NameTable.write(folder, "ids", names)
    table = NameTable(folder, "ids")
    assert list(table) == names
    assert [table.find(name) for name in names] == list(range(len(names)))
    assert table.find("no such name at all") in (None, *range(len(names)))


def test_more_shards_than_a_process_may_open_files(tmp_path):
    folder = write_store(tmp_path / "store", list(range(900)))  # 300 shards
    code = (
        "import resource, sys\nfrom vlm.data import FeatureStore\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))\n"
        f"store = FeatureStore({str(folder)!r})\n"
        "print(sum(float(store[key].features.sum()) > 0 for key in store))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["900"]


# --- damage ----------------------------------------------------------------------------------


def test_another_model_is_refused_and_both_are_named(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", IDS))
    store.require("made-up", MANIFEST.backbone_hash, MANIFEST.geometry)
    with pytest.raises(InputError, match=r"backbone 'made-up' \(0123.*looks with 'other' \(fff"):
        store.require("other", "fff", MANIFEST.geometry)
    with pytest.raises(InputError, match=r"extract a store with that one"):
        store.require("made-up", MANIFEST.backbone_hash, "1x1 bicubic")


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no store of region features; make one with vlm extr"):
        FeatureStore(tmp_path)
    with pytest.raises(InputError, match=r"is no store"):
        FeatureStore(tmp_path / "gone")


def test_a_newer_format_is_refused(tmp_path):
    folder = write_store(tmp_path / "store", IDS)
    changed(folder, format=99)
    with pytest.raises(InputError, match=r"is of format 99, this program reads up to 1; install"):
        FeatureStore(folder)


def test_more_views_than_there_are_is_refused(tmp_path):
    folder = write_store(tmp_path / "store", IDS, views=2)
    with pytest.raises(InputError, match=r"has 2 views, asked for 3; extract it with --views 3"):
        FeatureStore(folder, views=3)
    with pytest.raises(InputError, match=r"at least 1 view of store .*, got 0; raise it"):
        FeatureStore(folder, views=0)


def test_a_cut_shard_is_named(tmp_path):
    folder = write_store(tmp_path / "store", IDS)
    shard = folder / "view-0/000001.bin"
    shard.write_bytes(shard.read_bytes()[:50])
    store = FeatureStore(folder)
    assert store[7].mask.all(), "other shards are whole"
    with pytest.raises(
        InputError, match=r"000001\.bin is cut off at 50 bytes; remove that file and"
    ):
        _ = store[42]
    shard.unlink()
    with pytest.raises(InputError, match=r"000001\.bin is missing; run the same vlm extract again"):
        _ = FeatureStore(folder)[42]


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_flipped_bit_is_found_when_the_image_is_read(tmp_path, dtype):
    folder = write_store(tmp_path / "store", IDS, dtype=dtype)
    shard = folder / "view-0/000000.bin"
    content = bytearray(shard.read_bytes())
    content[70] ^= 4
    shard.write_bytes(content)
    store = FeatureStore(folder)
    with pytest.raises(InputError, match=r"000000\.bin has changed since it was written; remove"):
        store.batch([0, 1, 2])
    assert not store.is_whole(0, 0)
    assert store.is_whole(0, 1)


def test_a_damaged_index_is_told(tmp_path):
    folder = write_store(tmp_path / "store", IDS)
    (folder / "index/sizes.npy").write_bytes(b"half")
    with pytest.raises(InputError, match=r"index of store .* is damaged; run the same vlm extract"):
        FeatureStore(folder)


def test_the_index_has_checksums_too(tmp_path):
    folder = write_store(tmp_path / "store", IDS, views=2)
    assert FeatureStore(folder).index_is_whole()
    crops = folder / "index/crops-1.npy"
    content = bytearray(crops.read_bytes())
    content[-5] ^= 64
    crops.write_bytes(content)
    assert not FeatureStore(folder).index_is_whole()


@pytest.mark.parametrize("name", ["ids_rows.npy", "ids_ends.npy"])
def test_damaged_names_are_told(tmp_path, name):
    folder = write_store(tmp_path / "store", IDS)
    file = folder / "index" / name
    np.save(file, np.load(file)[::-1] * 3 + 1)
    store = FeatureStore(folder)
    with pytest.raises(InputError, match=r"is damaged; run the same vlm extract|has no image"):
        [store[image_id] for image_id in IDS]


def test_ids_of_numpy_and_torch_are_numbers(tmp_path):
    store = FeatureStore(write_store(tmp_path / "store", IDS))
    assert store.row(np.int64(42)) == store.row(torch.tensor(42)) == 3


def test_checksums_are_those_of_sha256sum(tmp_path):
    folder = write_store(tmp_path / "store", IDS)
    line = (folder / "view-0/000000.sha256").read_text()
    assert re.fullmatch(r"[0-9a-f]{64}  000000\.bin\n", line)


# --- a million images ------------------------------------------------------------------------


def test_opening_reads_nothing_that_grows_with_the_images(tmp_path, monkeypatch):
    """Sparse files of a million images; what is opened is mapped, and the shards are not."""
    folder = write_store(tmp_path / "store", IDS)
    images = 1_000_000
    changed(folder, images=images, shard=128)
    index = folder / "index"
    shutil.rmtree(folder / "view-0")
    for name in ("sizes", "regions-0", "crops-0", "checksums-0", "ids_ends", "files_ends"):
        old = np.load(index / f"{name}.npy")
        length = images + (name == "regions-0")
        np.lib.format.open_memmap(index / f"{name}.npy", "w+", old.dtype, (length, *old.shape[1:]))
    real, sizes = np.load, []

    def spy(file, mmap_mode=None):
        array = real(file, mmap_mode=mmap_mode)
        sizes.append(0 if mmap_mode == "r" else array.nbytes)
        return array

    monkeypatch.setattr(np, "load", spy)
    store = FeatureStore(folder)
    assert len(store) == images
    assert sum(sizes) == 0
