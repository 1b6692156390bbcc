"""An image is seen once, as the backbone sees it, and whatever stops the work costs a shard."""

import os
import random
import re
import signal
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from photos import IMAGES, content, extraction, small_backbone, write_photos

from vlm.data import FeatureStore
from vlm.data.store import writer as writer_module
from vlm.data.store.shard import ShardWriter
from vlm.errors import InputError
from vlm.extract import geometry_of
from vlm.extract.extraction import Extraction
from vlm.extract.loading import boxes_of_image, boxes_within
from vlm.extract.plan import plan
from vlm.extract.verification import verify
from vlm.models.backbone import FrozenBackbone
from vlm.models.box_regions import box_features


@pytest.fixture(scope="module")
def backbone() -> FrozenBackbone:
    return small_backbone()


@pytest.fixture
def photos(tmp_path) -> Path:
    return write_photos(tmp_path / "photos")


# --- what is kept ----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_stored_features_are_the_backbones(tmp_path, backbone, photos, workers):
    store = extraction(photos, tmp_path / "s", backbone, batch_size=3).run(workers=workers)
    assert list(store) == [f"{number:02d}.png" for number in range(IMAGES)]
    pixels = torch.stack([geometry_of(backbone).load(photos / name) for name in store])
    direct = backbone(pixels.float() / 255)
    kept = store.batch(range(IMAGES))
    torch.testing.assert_close(kept.features.float(), direct.features, rtol=2**-10, atol=1e-5)
    assert torch.equal(kept.boxes, direct.boxes)
    assert torch.equal(kept.mask, direct.mask)
    assert not torch.allclose(kept.features[0], kept.features[1])
    assert store.size("03.png") == (56, 71)


def test_eight_bits_are_near(tmp_path, backbone, photos):
    whole = extraction(photos, tmp_path / "a", backbone).run().batch(range(IMAGES)).features
    coded = extraction(photos, tmp_path / "b", backbone, dtype="int8").run()
    error = (
        coded.batch(range(IMAGES)).features.float() - whole.float()
    ).norm() / whole.float().norm()
    assert 0 < error < 0.01
    sizes = [
        sum(len(data) for name, data in content(tmp_path / store).items() if name.endswith(".bin"))
        for store in ("a", "b")
    ]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_layer_and_a_pooled_grid(tmp_path, photos):
    pooled = small_backbone(layer=-2, pool=(2, 2))
    store = extraction(photos, tmp_path / "s", pooled).run()
    full = small_backbone(layer=-2)
    assert full.grid == (6, 4)
    pixels = geometry_of(full).load(photos / "05.png").unsqueeze(0).float() / 255
    cells = full(pixels).features[0].view(6, 4, -1)
    upper_left = cells[:3, :2].mean(dim=(0, 1))
    found = store["05.png"]
    torch.testing.assert_close(found.features[0, 0].float(), upper_left, rtol=2**-9, atol=1e-4)
    assert found.boxes[0].tolist()[0] == [0, 0, 0.5, 0.5]
    assert len({small_backbone().hash, full.hash, pooled.hash}) == 3


def test_boxes_stand_beside_the_grid(tmp_path, backbone, photos):
    boxes = {"02.png": [(0, 0, 71, 55), (10, 5, 40, 50)], "03.png": [(1, 2, 30, 40)]}
    store = extraction(photos, tmp_path / "s", backbone, boxes=boxes, boxes_origin="b").run()
    regions = store["02.png"]
    cells = backbone.grid[0] * backbone.grid[1]
    assert regions.kinds is not None
    assert regions.kinds[0].tolist() == [0] * cells + [1, 1]
    expected = torch.tensor([[0, 0, 1, 1], [10 / 71, 5 / 55, 40 / 71, 50 / 55]])
    torch.testing.assert_close(regions.boxes[0, cells:], expected)
    pixels = geometry_of(backbone).load(photos / "02.png").unsqueeze(0).float() / 255
    (features,) = box_features(backbone.feature_map(pixels), [expected])
    torch.testing.assert_close(regions.features[0, cells:].float(), features, rtol=2**-9, atol=1e-4)
    both = store.batch([2, 3, 4])
    assert both.mask.sum(dim=1).tolist() == [cells + 2, cells + 1, cells]
    assert store.manifest.grid is None


# --- views -----------------------------------------------------------------------------------


def test_view_0_is_clean_and_the_others_are_functions_of_seed_and_image(tmp_path, backbone, photos):
    clean = extraction(photos, tmp_path / "a", backbone).run().batch(range(IMAGES))
    first = extraction(photos, tmp_path / "b", backbone, views=3, seed=5).run()
    other = extraction(photos, tmp_path / "c", backbone, views=3, seed=6).run()
    rows = list(range(IMAGES))
    assert torch.equal(first.batch(rows).features, clean.features)
    assert torch.equal(other.batch(rows).features, clean.features)
    for view in (1, 2):
        seen = first.batch(rows, [view] * IMAGES)
        assert not torch.equal(seen.features, other.batch(rows, [view] * IMAGES).features)
        corners = torch.cat([seen.boxes[:, 0, :2], seen.boxes[:, -1, 2:]], dim=1)
        areas = (corners[:, 2:] - corners[:, :2]).prod(dim=1)
        assert ((areas > 0.55) & (areas <= 1)).all(), "sixty per cent, to a pixel"
        assert len(set(areas.tolist())) > IMAGES // 2
    # The same image among other images, in another place, is seen the same way.
    (photos / "00.png").unlink()
    again = extraction(photos, tmp_path / "d", backbone, views=3, seed=5).run()
    assert torch.equal(again.batch([4], [2]).features, first.batch([5], [2]).features)


def test_a_crop_shows_what_its_box_says(tmp_path, backbone, photos):
    loader = extraction(photos, tmp_path / "s", backbone, views=2).loader
    change = type(loader.augmentation)(area=0.3, change=type(loader.augmentation.change)(0, 0))
    from dataclasses import replace

    view = replace(loader, augmentation=change).load(4, 1)
    whole = loader.load(4, 0)
    height, width = whole.pixels.shape[1:]
    x0, y0, x1, y1 = view.crop
    part = whole.pixels[
        :, round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)
    ]
    resized = torch.nn.functional.interpolate(part[None].float(), (height, width), mode="bilinear")
    assert (resized[0] - view.pixels).abs().mean() < 8


def test_boxes_go_into_a_crop_and_back():
    crop = (0.2, 0.1, 0.8, 0.9)
    boxes = torch.tensor([[0.3, 0.3, 0.5, 0.5], [0.0, 0.0, 0.1, 0.1], [0.1, 0.2, 0.6, 0.6]])
    inside = boxes_within(crop, boxes)
    assert len(inside) == 2, "the centre of the second is outside"
    back = boxes_of_image(crop, inside)
    torch.testing.assert_close(back[0], boxes[0])
    torch.testing.assert_close(back[1], torch.tensor([0.2, 0.2, 0.6, 0.6]))


# --- stopped and started again ---------------------------------------------------------------


def test_nothing_is_looked_at_twice(tmp_path, backbone, photos, monkeypatch):
    first = content(extraction(photos, tmp_path / "s", backbone).run()._folder)
    monkeypatch.setattr(Extraction, "look", None)
    extraction(photos, tmp_path / "s", backbone).run()
    assert content(tmp_path / "s") == first


def _run(photos: Path, output: Path) -> None:
    torch.set_num_threads(1)
    extraction(photos, output, small_backbone(), views=2).run()
    os._exit(0)


def test_killed_at_any_instant_it_ends_with_the_same_bytes(tmp_path, photos):
    torch.set_num_threads(1)
    whole = content(extraction(photos, tmp_path / "whole", small_backbone(), views=2).run()._folder)
    fork, rng = get_context("fork"), random.Random(1)
    for number in range(4):
        output = tmp_path / f"killed-{number}"
        process = fork.Process(target=_run, args=(photos, output))
        process.start()
        time.sleep(rng.uniform(0, 0.5))
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        again = extraction(photos, output, small_backbone(), views=2)
        again.run()
        assert content(output) == whole


@pytest.mark.parametrize("left", [None, 0, 100, -1])
def test_a_lost_or_cut_shard_is_made_again(tmp_path, backbone, photos, left):
    whole = content(extraction(photos, tmp_path / "s", backbone).run()._folder)
    shard = tmp_path / "s/view-0/000001.bin"
    if left is None:
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:left])
    extraction(photos, tmp_path / "s", backbone).run()
    assert content(tmp_path / "s") == whole


def test_a_full_disk_loses_nothing_that_was_written(tmp_path, backbone, photos, monkeypatch):
    whole = content(extraction(photos, tmp_path / "whole", backbone).run()._folder)
    write, written = ShardWriter.write, []

    def full(self, file):
        if len(written) == 2:
            file.with_suffix(".partial").write_bytes(b"half")
            raise OSError(28, "No space left on device")
        written.append(file)
        write(self, file)

    monkeypatch.setattr(ShardWriter, "write", full)
    with pytest.raises(
        InputError, match=r"cannot be written \(No space left on device\); make room"
    ):
        extraction(photos, tmp_path / "s", backbone).run()
    assert [path.name for path in sorted((tmp_path / "s/view-0").glob("*.bin"))] == [
        "000000.bin",
        "000001.bin",
    ]
    with pytest.raises(InputError, match=r"is not finished; run the same vlm extract again"):
        FeatureStore(tmp_path / "s")
    monkeypatch.undo()
    extraction(photos, tmp_path / "s", backbone).run()
    assert content(tmp_path / "s") == whole


def test_two_extractions_at_once_are_refused(tmp_path, backbone, photos):
    first = extraction(photos, tmp_path / "s", backbone)
    with first.writer.lock(), pytest.raises(InputError, match=r"another extraction is at work on"):
        extraction(photos, tmp_path / "s", backbone).run()
    assert len(first.run()) == IMAGES


@pytest.mark.parametrize("step", ["mkdir", "write_manifest", "rename", "save"])
def test_killed_between_any_two_steps_it_goes_on(tmp_path, backbone, photos, monkeypatch, step):
    """Every call of one kind in turn is the last thing that an extraction does."""
    whole = content(extraction(photos, tmp_path / "whole", backbone).run()._folder)
    place = {
        "mkdir": (Path, "mkdir"),
        "rename": (Path, "rename"),
        "write_manifest": (writer_module, "write_manifest"),
        "save": (np, "save"),
    }[step]
    real = getattr(*place)

    class KilledError(BaseException):
        """What no handler of errors catches."""

    calls: list[tuple] = []
    last = 0

    def dies(*args, **options):
        calls.append(args)
        if len(calls) == last + 1:
            raise KilledError
        return real(*args, **options)

    for last in range(9):
        output = tmp_path / f"{step}-{last}"
        calls.clear()
        monkeypatch.setattr(*place, dies)
        try:
            extraction(photos, output, backbone).run()
            break
        except KilledError:
            pass
        finally:
            monkeypatch.setattr(*place, real)
        extraction(photos, output, backbone).run()
        assert content(output) == whole
    assert last > 0


def test_another_store_begun_in_the_meantime_is_seen_under_the_lock(tmp_path, backbone, photos):
    first = extraction(photos, tmp_path / "s", backbone)
    second = extraction(photos, tmp_path / "s", small_backbone(layer=1))
    first.run()
    with pytest.raises(InputError, match=r"was made with backbone_hash .*; give the same options"):
        second.run()
    assert verify(first, FeatureStore(tmp_path / "s"), images=3).images == 3


def test_a_finished_store_is_not_written_to(tmp_path, backbone, photos):
    extraction(photos, tmp_path / "s", backbone).run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    extraction(photos, tmp_path / "s", backbone).run()
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")} == before


def test_a_lost_checksum_is_made_again(tmp_path, backbone, photos):
    whole = content(extraction(photos, tmp_path / "s", backbone).run()._folder)
    (tmp_path / "s/view-0/000001.sha256").unlink()
    extraction(photos, tmp_path / "s", backbone).run()
    assert content(tmp_path / "s") == whole


# --- bad images ------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_all_bad_images_are_named_and_good_shards_stay(tmp_path, backbone, photos, workers):
    good = (photos / "01.png").read_bytes()
    (photos / "01.png").write_bytes(good[:300])
    work = extraction(photos, tmp_path / "s", backbone)
    (photos / "05.png").unlink()  # between the plan and the work
    with pytest.raises(InputError) as told:
        work.run(workers=workers)
    text = str(told.value)
    assert text.startswith(
        "2 of 11 images of the list (restore those that are gone, --skip-corrupt leaves"
    )
    assert re.search(r"01\.png cannot be read \(.*\); restore or remove it", text)
    assert "05.png does not exist; check the path" in text
    assert [path.name for path in (tmp_path / "s/view-0").glob("*.bin")] == ["000002.bin"]


def test_bad_images_are_skipped_when_asked(tmp_path, backbone, photos):
    clean = extraction(photos, tmp_path / "clean", backbone).run()
    (photos / "01.png").write_bytes(b"")
    store = extraction(photos, tmp_path / "s", backbone, views=2).run(skip_corrupt=True)
    assert len(store) == IMAGES - 1
    assert "01.png" not in store
    assert torch.equal(store["02.png"].features, clean["02.png"].features)
    with pytest.raises(InputError, match=r"no features of image '01\.png': image .* is empty"):
        _ = store["01.png"]


# --- other manifests -------------------------------------------------------------------------


def test_another_manifest_is_refused_and_both_values_are_named(tmp_path, backbone, photos):
    extraction(photos, tmp_path / "s", backbone).run()
    with pytest.raises(InputError, match=r"was made with dtype 'float16' and not 'int8'; give the"):
        extraction(photos, tmp_path / "s", backbone, dtype="int8")
    with pytest.raises(InputError, match=r"with backbone_hash '[0-9a-f]+' and not '[0-9a-f]+'"):
        extraction(photos, tmp_path / "s", small_backbone(layer=1))
    (photos / "00.png").write_bytes((photos / "01.png").read_bytes())
    with pytest.raises(InputError, match=r"images_hash"):
        extraction(photos, tmp_path / "s", backbone)


def test_a_folder_of_something_else_is_refused(tmp_path, backbone, photos):
    with pytest.raises(InputError, match=r"photos' exists and is no store; give another --output"):
        extraction(photos, photos, backbone)


@pytest.mark.parametrize("options", [{"views": 0}, {"dtype": "float64"}, {"batch_size": 0}])
def test_options_out_of_range(tmp_path, backbone, photos, options):
    with pytest.raises(InputError, match=r"expected at least 1 view, batches of at least 1 image"):
        extraction(photos, tmp_path / "s", backbone, **options)


# --- plan and verification -------------------------------------------------------------------


def test_the_plan_counts_what_is_left(tmp_path, backbone, photos):
    work = extraction(photos, tmp_path / "s", backbone, views=2)
    told = plan(work)
    cells = backbone.grid[0] * backbone.grid[1]
    assert (told.images, told.views, told.left) == (IMAGES, 2, 2 * IMAGES)
    assert told.bytes == IMAGES * 2 * cells * backbone.width * 2
    assert told.rate > 0
    assert re.match(
        r"11 images x 2 views, \d+ kB on disk \(.* free\); 22 to look at, [\d.,]+/s: ", str(told)
    )
    work.run()
    assert str(plan(work)).endswith("all there already")


def test_a_plan_without_room_is_refused(tmp_path, backbone, photos, monkeypatch):
    work = extraction(photos, tmp_path / "s", backbone)
    usage = type("usage", (), {"free": 10})
    monkeypatch.setattr("vlm.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(
        InputError, match=r"the store needs \d+ kB more, the disk of .* has 0 kB free; make"
    ):
        plan(work)


def test_a_store_is_verified(tmp_path, backbone, photos):
    work = extraction(photos, tmp_path / "s", backbone, views=2)
    store = work.run()
    done = verify(work, store, images=4)
    assert (done.shards, done.images) == (6, 4)
    assert done.error < 1e-2
    assert verify(work, store, images=99).images == IMAGES


def test_verification_finds_a_crop_that_moved(tmp_path, backbone, photos):
    work = extraction(photos, tmp_path / "s", backbone, views=2)
    work.run()
    crops = tmp_path / "s/index/crops-1.npy"
    moved = np.load(crops)
    moved[:, 3] /= 2
    np.save(crops, moved)
    with pytest.raises(
        InputError, match=r"the index of store .* changed since it was written; run"
    ):
        verify(work, FeatureStore(tmp_path / "s"), images=1)
    work.run()
    assert verify(work, FeatureStore(tmp_path / "s"), images=IMAGES).images == IMAGES


def test_verification_finds_other_images_and_changed_bytes(tmp_path, backbone, photos):
    work = extraction(photos, tmp_path / "s", backbone)
    store = work.run()
    (photos / "03.png").write_bytes((photos / "09.png").read_bytes())
    with pytest.raises(
        InputError, match=r"other features than the backbone sees for 1 of 11 images \(03"
    ):
        verify(work, store, images=IMAGES)
    shard = tmp_path / "s/view-0/000002.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(
        InputError, match=r"shards that changed .*: view-0/000002\.bin; remove those"
    ):
        verify(work, store, images=1)


def test_real_photos_through_real_weights(shared, tmp_path):
    backbone = FrozenBackbone(f"local-dir:{shared / 'weights/tf_efficientnet_lite0'}")
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((shared / "data/coco/images").glob("*.jpg"))[:3]:
        (folder / path.name).symlink_to(path)
    store = extraction(folder, tmp_path / "s", backbone).run()
    assert store.manifest.backbone == "local-dir:tf_efficientnet_lite0"
    assert store.batch([0, 1, 2]).features.shape == (3, 49, 320)
