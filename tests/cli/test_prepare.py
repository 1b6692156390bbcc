"""``vlm prepare coco`` from nothing to files that training reads; the server is no friend."""

import json
import zipfile
from pathlib import Path

import pytest
from preparing import ran, refused
from ten_photos import (
    ARCHIVES,
    COUNTS,
    SPLITS,
    TRAIN,
    VAL,
    karpathy,
    name_of,
    photo,
    small,
    snapshot,
    zipped,
)

from vlm.cli import main
from vlm.data import CaptionData
from vlm.data.sets.entries import DataSet
from vlm.data.sets.sources import SETS
from vlm.files import write_json


@pytest.fixture(autouse=True)
def coco(monkeypatch, tmp_path) -> DataSet:
    """The table's COCO, ten photos large; nothing in the table leads out of this machine."""
    entry = SETS["coco"]
    entry = entry._replace(sources=tuple(map(small, entry.sources)), counts=COUNTS)
    monkeypatch.setitem(SETS, "coco", entry)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("vlm.data.sets.fetch.time.sleep", lambda seconds: None)
    monkeypatch.chdir(tmp_path)
    return entry


def test_coco_from_nothing_over_cut_connections(server, capsys):
    server.cuts = {"/m/train2014.zip": [1000, 1], "/m/caption_datasets.zip": [5]}
    server.redirects["/m/val2014.zip"] = "/elsewhere"
    server.files["/elsewhere"] = ARCHIVES["val2014.zip"]
    told = ran(capsys, "coco", "--from", f"{server.url}/m/")
    assert "data/coco/train.json  6 images, 12 captions\n" in told
    assert "data/coco/test.json   3 images, 6 captions\n" in told
    assert (
        f"{len(ARCHIVES['val2014.zip']) / 1000:,.0f} kB  fetch {server.url}/m/val2014.zip" in told
    )
    output = Path("data/coco")
    files = {path for path in snapshot(output) if "2014/" not in path}
    assert files == {
        "prepared.json",
        "train.json",
        "val.json",
        "test.json",
        "annotations/dataset_coco.json",
        "annotations/captions_train2014.json",
        "annotations/captions_val2014.json",
        "annotations/instances_train2014.json",
        "annotations/instances_val2014.json",
    }
    # What is told to be next reads it.
    assert "next: vlm extract --images data/coco/images --backbone vit_base_patch16_sig" in told
    assert "&& vlm fit --config configs/coco_siglip2.yaml --model.backbone.name vit_base" in told
    names = {"train": "train.json", "val": "val.json", "test": "test.json"}
    assert json.dumps(names) in told
    data = CaptionData(names, "images", root="data/coco")
    for split, count in COUNTS.items():
        assert len(data.samples(split)) == count
        data.check_images(split)
    assert data.samples("val")[0].captions == ("A thing 42.", "Thing 42.")


def test_a_second_run_does_nothing(server, capsys):
    ran(capsys, "coco", "--from", f"{server.url}/m")
    before, asked = snapshot(Path("data")), len(server.asked)
    for arguments in (["--from", f"{server.url}/m"], []):
        told = ran(capsys, "coco", *arguments)
        assert "train2014.zip" in told
        assert "fetch " not in told
        assert "all of it was there: nothing was fetched or written\nnext: vlm extract" in told
        assert "data/coco/train.json  6 images, 12 captions\n" in told
    assert snapshot(Path("data")) == before
    assert len(server.asked) == asked


def test_a_dry_run_only_tells(server, capsys):
    told = ran(capsys, "coco", "--from", f"{server.url}/m", "--dry-run")
    assert "\nto fetch " in told
    assert " of unknown size" not in told
    assert "; room needed about " in told
    assert told.count(f"fetch {server.url}/m/") == 4
    assert told.endswith("dry run: nothing was fetched or written\n")
    assert not Path("data").exists()
    assert server.asked == []


def test_a_stopped_run_goes_on(server, capsys):
    server.cuts["/m/train2014.zip"] = [1000] + [0] * 9
    told = refused(capsys, "coco", "--from", f"{server.url}/m")
    assert f"{server.url}/m/train2014.zip broke off the connection, 5 times in a row, at 1," in told
    server.cuts.clear()
    server.asked.clear()
    plan = ran(capsys, "coco", "--from", f"{server.url}/m", "--dry-run")
    assert f"go on at 1 kB with {server.url}/m/train2014.zip" in plan
    assert "data/coco/train.json  6" in ran(capsys, "coco", "--from", f"{server.url}/m")
    assert server.asked == [("/m/train2014.zip", "bytes=1000-"), ("/m/val2014.zip", None)]


def test_what_a_run_left_that_was_killed_at_its_end_goes(server, capsys):
    ran(capsys, "coco", "--from", f"{server.url}/m")
    before = snapshot(Path("data"))
    for left in ("coco/.fetched/val2014.zip", "coco/images/.val2014.zip.partial/a.jpg"):
        (Path("data") / left).parent.mkdir()
        (Path("data") / left).write_bytes(b"left")
    ran(capsys, "coco")
    assert snapshot(Path("data")) == before
    assert not Path("data/coco/.fetched").exists()


def test_parts_come_one_by_one(server, capsys):
    place = f"{server.url}/m"
    told = ran(capsys, "coco", "--from", place, "--only", "captions", "--output", "o")
    assert "o/train.json  6 images" in told
    assert not Path("o/images").exists()
    before = snapshot(Path("o"))
    told = ran(capsys, "coco", "--from", place, "--output", "o")
    assert f"images in {Path('o/images')}\n" in told
    after = snapshot(Path("o"))
    unchanged = set(before) - {"prepared.json"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    told = ran(capsys, "coco", "--from", place, "--only", "images", "--output", "p")
    assert set(snapshot(Path("p"))) == {f"images/{name_of(number)}" for number in SPLITS}


@pytest.mark.parametrize("form", ["archives", "unpacked", "below images"])
def test_local_folders_are_used_where_they_lie(server, capsys, tmp_path, form):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, content in ARCHIVES.items():
        (mine / name).write_bytes(content)
        if form != "archives":
            into = mine / ("images" if "2014.zip" in name and "ann" not in name else "")
            target = into if form == "below images" else mine
            zipfile.ZipFile(mine / name).extractall(target)
            (mine / name).unlink()
    before = snapshot(mine)
    assert "train.json  6 images" in ran(capsys, "coco", "--from", str(mine))
    assert snapshot(mine) == before
    images = Path("data/coco/images")
    assert (images / "train2014").is_symlink() == (form != "archives")
    assert all((images / name_of(number)).read_bytes() == photo(number) for number in SPLITS)
    assert "nothing was fetched or written" in ran(capsys, "coco")
    # An image is gone, the link with it: the next run fetches anew and leaves the folder alone.
    lost = images / name_of(9)
    lost.resolve().unlink()
    before = snapshot(mine)
    ran(capsys, "coco", "--from", f"{server.url}/m")
    assert lost.read_bytes() == photo(9)
    assert [path for path, _ in server.asked] == ["/m/train2014.zip"]
    assert snapshot(mine) == before


def test_a_local_archive_with_wrong_bytes_is_told(capsys, tmp_path):
    for name, content in ARCHIVES.items():
        (tmp_path / name).write_bytes(content)
    spoiled = bytearray(ARCHIVES["val2014.zip"])
    spoiled[99] ^= 1
    (tmp_path / "val2014.zip").write_bytes(spoiled)
    told = refused(capsys, "coco", "--from", str(tmp_path))
    assert told.startswith(f"{tmp_path / 'val2014.zip'} has the sha256 ")
    assert told.endswith(" is expected; remove it, fetch it again")
    assert not Path("data/coco/images/val2014").exists()


def test_your_own_splits(server, capsys, tmp_path):
    lists = [tmp_path / f"{name}_ids.txt" for name in ("train", "val", "test")]
    for file, ids in zip(lists, ((*TRAIN, 42, 73), (74,), (133, 136, 139)), strict=True):
        file.write_text("\n".join(map(str, ids)))
    arguments = ["coco", "--from", f"{server.url}/m", "--splits"]
    ran(capsys, *arguments, *map(str, lists))
    assert "/m/caption_datasets.zip" not in [path for path, _ in server.asked]
    val = json.loads(Path("data/coco/val.json").read_text())
    assert val["images"] == [{"id": 74, "file_name": "val2014/COCO_val2014_000000000074.jpg"}]
    assert val["annotations"] == [{"id": 1, "image_id": 74, "caption": "Official 74."}]
    # Other splits are a reason to write anew; these are ours.
    (tmp_path / "dataset_coco.json").write_bytes(karpathy())
    ran(capsys, *arguments, str(tmp_path / "dataset_coco.json"))
    assert json.loads(Path("data/coco/val.json").read_text())["images"][0]["id"] == 42
    lists[1].write_text("74\n9\n")
    assert "got train 6 / val 2 / test 3; give" in refused(capsys, *arguments, *map(str, lists))
    lists[1].write_text("9\n")
    assert "got 1 in train and val: 9; give" in refused(capsys, *arguments, *map(str, lists))
    assert json.loads(Path("data/coco/val.json").read_text())["images"][0]["id"] == 42


def test_files_of_others_are_not_written_over(server, capsys):
    arguments = ["coco", "--from", f"{server.url}/m", "--only", "captions"]
    file = Path("data/coco/val.json")
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    told = refused(capsys, *arguments)
    assert told.startswith(f"{file} is there and not as vlm prepare wrote it; move it away, or")
    assert file.read_text() == "mine"
    file.unlink()
    ran(capsys, *arguments)
    file.write_text("mine")
    assert "not as vlm prepare wrote it" in refused(capsys, *arguments)
    assert not Path("data/coco/train.json.partial").exists()


def test_a_run_stopped_while_it_wrote_goes_on(server, capsys, monkeypatch):
    arguments = ["coco", "--from", f"{server.url}/m"]

    def stopped(file: Path, content: object) -> None:
        if file.name == "val.json":
            raise KeyboardInterrupt
        write_json(file, content)

    with monkeypatch.context() as patch:
        patch.setattr("vlm.data.sets.build.write_json", stopped)
        assert main(["prepare", *arguments]) == 130
    assert set(snapshot(Path("data/coco"))) >= {"prepared.json", "train.json"}
    asked = len(server.asked)
    assert "data/coco/val.json    1 images" in ran(capsys, *arguments)
    assert len(server.asked) == asked
    assert "nothing was fetched or written" in ran(capsys, *arguments)


def test_missing_photos_are_told(server, capsys, coco, monkeypatch):
    names = [name_of(number) for number in VAL[:-1]] + ["val2014/another.jpg"]
    content = zipped({name: photo(1) for name in names})
    server.files["/m/val2014.zip"] = content
    sources = [
        source._replace(size=len(content), checksum=None)
        if source.name == "val2014.zip"
        else source
        for source in coco.sources
    ]
    monkeypatch.setitem(SETS, "coco", coco._replace(sources=tuple(sources)))
    told = refused(capsys, "coco", "--from", f"{server.url}/m")
    missing = (
        "data/coco/images lacks 1 images of the splits (val2014/COCO_val2014_000000000139.jpg)"
    )
    assert told == f"{missing}; get the official photos"
    assert not Path("data/coco/train.json").exists()


def test_an_archive_that_holds_less_is_told(server, capsys, coco, monkeypatch):
    content = zipped({name_of(number): photo(number) for number in VAL[:2]})
    server.files["/m/val2014.zip"] = content
    sources = [
        source._replace(size=None, checksum=None) if source.name == "val2014.zip" else source
        for source in coco.sources
    ]
    monkeypatch.setitem(SETS, "coco", coco._replace(sources=tuple(sources)))
    told = refused(capsys, "coco", "--from", f"{server.url}/m")
    assert told == (
        "val2014.zip is not what was expected: val2014 has 2 of 6 photos; get the official one"
    )


def test_room_is_looked_for_before_anything(server, capsys, monkeypatch):
    monkeypatch.setattr("vlm.data.sets.fetch.free_bytes", lambda folder: 10)
    told = refused(capsys, "coco", "--from", f"{server.url}/m")
    assert told.startswith("data/coco needs 0.0 GB and its disk has 0.0 GB free; make room or give")
    assert server.asked == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["imagenet"], "invalid choice: 'imagenet'"),
        (["coco", "--from", "nowhere"], "--from nowhere is no folder and no http address; name"),
        (["coco", "--splits", "a.json"], "file a.json does not exist; correct --splits"),
        (["vqav2", "--splits", "a.json"], "vqav2 has official splits; leave --splits out"),
        (["coco", "--only", "images", "--splits", "a"], "--only images writes no splits; leave"),
        (["coco", "--only", "text"], "invalid choice: 'text'"),
        (["flickr30k"], "flickr30k-images.tar.gz is given only to those who ask at https://sha"),
    ],
)
def test_what_is_asked_wrongly(capsys, arguments, sentence):
    assert sentence in refused(capsys, *arguments)
    assert not Path("data").exists()
