"""JSON is read with one clear sentence when it cannot be, and written whole or not at all."""

import gzip
import json
import re
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.files import file_hash, read_json, read_text, write_json

TREE = {"text": "Straße 🐕", "number": 0.1 + 0.2, "rows": [1, None, True]}


def _cut_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(json.dumps(list(range(999))).encode())[:-20])


def _broken_gzip(path: Path) -> None:
    content = bytearray(gzip.compress(b"[1, 2, 3]", mtime=0))
    content[10:12] = b"\xff\xff"  # right behind the header: no such block of deflated data
    path.write_bytes(content)


BAD = {
    "empty.json": (Path.touch, "is empty; fetch or write it again"),
    "blank.json": (lambda path: path.write_text(" \n"), "is empty; fetch or write it again"),
    "half.json": (
        lambda path: path.write_text(json.dumps(TREE, indent=1)[:40]),
        r"is not whole JSON \(line 3: .*\); it may have been cut off, fetch or write it again",
    ),
    "latin.json": (
        lambda path: path.write_bytes('"Straße"'.encode("latin-1")),
        r"is not UTF-8 text \(byte 5\); convert it",
    ),
    "folder.json": (Path.mkdir, r"cannot be read \(Is a directory\); restore it"),
    "cut.json.gz": (_cut_gzip, r"cannot be read \(.*\); restore it"),
    "broken.json.gz": (_broken_gzip, r"cannot be read \(.*\); restore it"),
    "plain.json.gz": (
        lambda path: path.write_text("[]"),
        r"cannot be read \(Not a gzipped file.*\); restore it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_one_sentence(tmp_path, name):
    make, reason = BAD[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=f"^file {re.escape(str(tmp_path / name))} {reason}$"):
        read_json(tmp_path / name)


def test_a_missing_file_suggests_the_nearest_name(tmp_path):
    for name in ("captions_val.json", "instances_train.json", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(
        InputError, match=r"captions_vla.json does not exist; did you mean captions_val\.json\?$"
    ):
        read_json(tmp_path / "captions_vla.json")


@pytest.mark.parametrize("place", ["zzz.json", "no such folder/a.json"])
def test_a_missing_file_without_neighbours(tmp_path, place):
    with pytest.raises(InputError, match=r"does not exist; check the path$"):
        read_json(tmp_path / place)


@pytest.mark.parametrize("name", ["a.json", "deep/er/a.json"])
def test_what_is_written_is_read(tmp_path, name):
    write_json(tmp_path / name, TREE)
    assert read_json(tmp_path / name) == TREE


def test_gzip_and_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(TREE).encode()))
    (tmp_path / "b.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(TREE).encode())
    assert read_json(tmp_path / "a.json.gz") == read_json(tmp_path / "b.json") == TREE
    assert read_text(tmp_path / "b.json")[0] == "{"


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    write_json(tmp_path / "a.json", TREE)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"set": {1, 2}})
    assert read_json(tmp_path / "a.json") == TREE
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_hash_follows_the_content_alone(tmp_path):
    for name, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(content)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")
    # SHA-256 of "one", as printed by sha256sum (GNU coreutils).
    assert file_hash(tmp_path / "a") == "7692c3ad3540bb80"
