"""``vlm doctor`` of a store: damage is found out, and what it says to do mends it."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from vlm.cli import main
from vlm.data.store import FeatureStore
from vlm.files import read_json, write_json


def lines(capsys, status: int, *arguments: object) -> list[str]:
    assert main(["doctor", *map(str, arguments)]) == status
    return capsys.readouterr().out.splitlines()


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.fixture
def store(tiny_store: Path, tmp_path: Path) -> Path:
    """One's own copy, to be damaged."""
    return Path(shutil.copytree(tiny_store, tmp_path / "store"))


def test_a_sound_store(store, capsys):
    before = snapshot(store)
    first, second = lines(capsys, 0, store)
    manifest = read_json(store / "manifest.json")
    shards = len([*store.rglob("*.bin")])
    assert first.startswith(f"ok    {store}: a store of 45 images (3 views, ")
    assert f"float16) by {manifest['backbone']!r} ({manifest['backbone_hash']}, " in first
    assert second == f"ok    {store}: all {shards} shards have their sizes (--full reads all bytes)"
    assert lines(capsys, 0, store, "--full")[1].endswith(
        f"all {shards} shards have their checksums"
    )
    assert snapshot(store) == before, "nothing is written"


def test_a_flipped_byte_is_found_by_reading_all(store, capsys):
    shard = store / "view-1" / "000001.bin"
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(content)
    assert "have their sizes" in lines(capsys, 0, store)[-1]
    assert main(["doctor", str(store), "--full"]) == 2
    told = capsys.readouterr()
    assert "shards 1 cannot be used: view-1/000001.bin is changed; remove those files" in told.out
    assert "checksums:" in told.err
    assert "vlm: error: 1 of 2 checks failed" in told.err


@pytest.mark.parametrize("left", [0, 7, 5000, -1])
def test_a_shard_that_is_cut_off(store, left, capsys):
    shard = store / "view-0" / "000000.bin"
    shard.write_bytes(shard.read_bytes()[:left])
    assert "view-0/000000.bin is cut off; remove" in lines(capsys, 2, store)[-1]


def test_a_shard_that_lost_bytes_in_its_middle_or_is_another(store, capsys):
    shard = store / "view-0" / "000000.bin"
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + content[108:])
    assert "view-0/000000.bin is cut off" in lines(capsys, 2, store)[-1]
    for suffix in (".bin", ".sha256"):  # whole in itself
        other = store / "view-1" / f"000000{suffix}"
        shard.with_suffix(suffix).write_bytes(other.read_bytes())
    told = lines(capsys, 2, store)[-1]
    assert "holds shards of another extraction than its manifest tells of; make it again" in told


def test_missing_shards_and_a_store_that_is_not_finished(store, capsys):
    (store / "view-2" / "000001.bin").unlink()
    (store / "view-2" / "000000.sha256").unlink()
    told = lines(capsys, 2, store)[-1]
    assert "000000.bin is without its checksum, view-2/000001.bin is missing; run the same" in told
    (store / "manifest.json").rename(store / "extraction.json")
    (line,) = lines(capsys, 2, store)
    assert ": a store that is not finished, 2 of 9 shards" in line
    assert line.endswith("run the same vlm extract again, which goes on, unless one is at work")


def test_skipped_images_are_a_warning(store, capsys):
    manifest = read_json(store / "manifest.json")
    manifest["skipped"] = [{"image_id": "test_000001.jpg", "reason": "image is empty; restore it"}]
    write_json(store / "manifest.json", manifest)
    told = lines(capsys, 0, store)[1]
    assert told.startswith(f"warn  {store}: 1 images were skipped (test_000001.jpg), the first as ")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"format": 99}, "install a newer vlm"), ({"width": None}, "is not the manifest")],
)
def test_a_manifest_of_another_kind(change, words, store, capsys):
    manifest = read_json(store / "manifest.json") | change
    write_json(store / "manifest.json", {k: v for k, v in manifest.items() if v is not None})
    (line,) = lines(capsys, 2, store)
    assert words in line


def spoilt(content: bytes) -> bytes:
    """The same with its last byte another."""
    return content[:-1] + bytes([content[-1] ^ 1])


def cut(content: bytes) -> bytes:
    """Its first half."""
    return content[: len(content) // 2]


NAMES = [f"{kind}{part}" for kind in ("ids", "files")
         for part in (".txt", "_ends.npy", "_hashes.npy", "_rows.npy")]  # fmt: skip
NAMES += ["sizes.npy", "regions-0.npy", "crops-1.npy", "checksums-2.npy"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [spoilt, cut, lambda content: b"", lambda content: b"PK\3\4"])
def test_a_damaged_index(store, name, damage, capsys):
    file = store / "index" / name
    file.write_bytes(damage(file.read_bytes()))
    first, second, third = lines(capsys, 2, store)
    assert first.startswith(f"ok    {store}: a store of 45 images (3 views, ")
    assert second == (
        f"fail  {store}: its index is damaged or has changed since it was written; run the same "
        "vlm extract again, which makes the index anew from the shards"
    )
    assert third.startswith(f"ok    {store}: all 9 shards have their sizes")


def extract_again(store: Path, world: Path, eyes: str) -> None:
    """The line that made the store."""
    options = {"--images": world / "images", "--backbone": eyes, "--output": store, "--views": 3}
    pairs = [str(part) for pair in options.items() for part in pair]
    size = ["--image-size", "128", "160", "--batch-size", "5", "--accelerator", "cpu"]
    assert main(["extract", *pairs, *size]) == 0


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_told_of_an_index_mends_it(store, gone, tiny_world, tiny_eyes, capsys):
    written = (store / "manifest.json").read_bytes()
    index = {file.name: file.read_bytes() for file in (store / "index").iterdir()}
    if gone:
        shutil.rmtree(store / "index")
    else:
        (store / "index" / "ids.txt").write_bytes(b"[1, 2")
    assert "its index is damaged" in lines(capsys, 2, store, "--full")[1]
    extract_again(store, tiny_world, tiny_eyes)
    capsys.readouterr()
    lines(capsys, 0, store, "--full")
    assert (store / "manifest.json").read_bytes() == written
    assert {file.name: file.read_bytes() for file in (store / "index").iterdir()} == index
    assert FeatureStore(store).index_is_whole()


def test_what_is_told_of_shards_mends_them(store, tiny_world, tiny_eyes, capsys):
    shards = [store / f"view-{view}" / "000001.bin" for view in range(3)]
    shards[0].unlink()
    told = lines(capsys, 2, store)[-1]
    assert told.endswith("is missing; run the same vlm extract again, which makes them anew")
    extract_again(store, tiny_world, tiny_eyes)
    capsys.readouterr()
    lines(capsys, 0, store, "--full")
    shards[1].with_suffix(".sha256").unlink()
    shards[2].write_bytes(b"\xff" * 9)
    told = lines(capsys, 2, store)[-1]
    assert "is cut off; remove those that are cut off and run the same vlm extract again" in told
    shards[2].unlink()
    extract_again(store, tiny_world, tiny_eyes)
    capsys.readouterr()
    lines(capsys, 0, store, "--full")


def test_damage_of_an_import_is_mended_by_another_one(tmp_path, capsys):
    features = tmp_path / "features"
    features.mkdir()
    for number in (1, 2):
        np.save(features / f"{number}.npy", np.full((3, 7), number, np.float32))
    command = ["import", str(features), "--name", "made-up", "--output", str(tmp_path / "store")]
    assert main(command) == 0
    capsys.readouterr()
    (tmp_path / "store" / "index" / "ids.txt").unlink()
    (tmp_path / "store" / "view-0" / "000000.bin").unlink()
    told = lines(capsys, 2, tmp_path / "store")
    remedy = "; remove the store and run the same vlm import again"
    assert [line.endswith(remedy) for line in told] == [False, True, True]
    shutil.rmtree(tmp_path / "store")
    assert main(command) == 0
    capsys.readouterr()
    lines(capsys, 0, tmp_path / "store", "--full")
