"""JSON is read with one clear sentence when it cannot be, and written whole or not at all."""

import errno
import gzip
import json
import re
from pathlib import Path

import pytest

from vlm.cli import main
from vlm.errors import InputError
from vlm.files import file_hash, read_json, read_lines, read_text, write_json, write_lines

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
    "folder.json": (Path.mkdir, "is a folder; name a file"),
    "cut.json.gz": (_cut_gzip, "is cut off; fetch or write it again"),
    "broken.json.gz": (_broken_gzip, "is damaged; fetch or write it again"),
    "plain.json.gz": (
        lambda path: path.write_text("[]"),
        "is not gzipped; take .gz off its name",
    ),
    "damaged.json.gz": (
        lambda path: path.write_bytes(gzip.compress(b"[1, 2, 3]")[:-8] + bytes(8)),
        "is damaged; fetch or write it again",
    ),
    "gzipped.json": (
        lambda path: path.write_bytes(gzip.compress(b"[1, 2, 3]")),
        r"is gzipped; end its name in \.gz",
    ),
    "twice.json.gz": (
        lambda path: path.write_bytes(gzip.compress(gzip.compress(b"[]"))),
        "is gzipped twice; unpack it once",
    ),
    "utf16.json": (
        lambda path: path.write_text("[1]", encoding="utf-16"),
        "is UTF-16 or UTF-32 text; save it as UTF-8",
    ),
    "comma.json": (
        lambda path: path.write_text("[1, 2,]"),
        r"is not whole JSON \(line 1: Expecting value\); correct it",
    ),
    "unmarked.json": (
        lambda path: path.write_text("[1]", encoding="utf-16-le"),
        "is not UTF-8 text, it holds zero bytes; save it as UTF-8",
    ),
    "photo.json": (
        lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0"),
        "is a PNG picture, not text; give another file",
    ),
    "book.json": (
        lambda path: path.write_bytes(b"PK\x03\x04\x14\0"),
        r"is a zip archive or a workbook, not text; unpack it or name a workbook \.xlsx",
    ),
    "noise.json": (
        lambda path: path.write_bytes(b"ab\xff\0cd"),
        "is not text; give another file",
    ),
    "table.json": (
        lambda path: path.write_text("image_id,caption\n7,a dog\n"),
        "is not JSON, it starts with 'image_id,caption'; give a JSON file",
    ),
    "typing.json": (
        lambda path: path.write_text('[{"image_id": 7 "caption": "a dog, and all that follows"}]'),
        r"is not whole JSON \(line 1: Expecting ',' delimiter\); correct it",
    ),
    "lines.json": (
        lambda path: path.write_text('\n{"image_id": 7}\r\n{"image_id": 8}\n'),
        "holds JSON lines, not JSON; write one JSON value",
    ),
    "deep.json": (
        lambda path: path.write_text("[" * 100_000),
        r"cannot be read as JSON \(it is nested too deep\); correct it",
    ),
    "digits.json": (
        lambda path: path.write_text("[" + "1" * 5000 + "]"),
        r"cannot be read as JSON \(a number has thousands of digits\); correct it",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_one_sentence(tmp_path, name):
    make, reason = BAD[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=f"^(file )?{re.escape(str(tmp_path / name))} {reason}$"):
        read_json(tmp_path / name)


def test_a_file_cut_anywhere_is_told_to_be(tmp_path):
    whole = json.dumps([TREE, "\u2028", {"a": [-2500.0, float("-inf"), {}], "b": False}])
    for end in range(1, len(whole)):
        (tmp_path / "a.json").write_text(whole[:end])
        with pytest.raises(InputError, match=r"is not whole JSON \(line 1: .* have been cut off"):
            read_json(tmp_path / "a.json")


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


LINES = '{"a": 1}\n\n{"a": "line\u2028separator"}'


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_lines_come_with_their_numbers(tmp_path, name):
    data = LINES.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert list(read_lines(tmp_path / name)) == [(1, {"a": 1}), (3, {"a": "line\u2028separator"})]


@pytest.mark.parametrize(
    ("name", "other"), [("a.json", "a.jsonl"), ("a.json.gz", "a.jsonl.gz"), ("a", "a.jsonl")]
)
def test_lines_under_the_name_of_json_are_told(tmp_path, name, other):
    for text in (LINES, LINES[:-3]):
        data = text.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
        with pytest.raises(InputError, match=f"holds JSON lines, not JSON; name it {other}$"):
            read_json(tmp_path / name, by_name=True)


@pytest.mark.parametrize(
    "text", ['[{"a": 1},\n{"a": 2}]', '[{"a": 1}]', json.dumps(TREE, indent=1), "[\n]"]
)
def test_json_under_the_name_of_lines_is_told(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text)
    for by_name, remedy in ((True, r"name it a\.json"), (False, "write one entry a line")):
        with pytest.raises(InputError, match=f"holds one JSON value, not JSON lines; {remedy}$"):
            list(read_lines(tmp_path / "a.jsonl", by_name=by_name))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"a": ', r"is not whole JSON \(Expecting value\); it may have been cut off"),
        ('{"a": 1 "b": "and all that follows"}', r"is not whole JSON \(.*\); correct it"),
        ("a,b", "is not JSON, it starts with 'a,b'; give a JSON file"),
        ("[" * 100_000, r"cannot be read as JSON \(it is nested too deep\); correct it"),
    ],
)
def test_a_bad_line_is_told_by_its_number(tmp_path, line, reason):
    (tmp_path / "a.jsonl").write_text(f"1\n\n{line}\n")
    with pytest.raises(InputError, match=rf"a\.jsonl, line 3 {reason}"):
        list(read_lines(tmp_path / "a.jsonl"))


def test_a_path_through_a_file_is_told(tmp_path):
    (tmp_path / "a").touch()
    reason = "does not exist, a part of its path is a file, not a folder; check the path"
    with pytest.raises(InputError, match=reason):
        read_json(tmp_path / "a" / "b.json")
    for target in (tmp_path / "a" / "b.json", tmp_path / "a" / "b" / "c.json"):
        reason = f"'{target}' cannot be written, as '{tmp_path / 'a'}' is a file and no folder; "
        with pytest.raises(InputError, match=f"^{re.escape(reason)}give another path$"):
            write_json(target, TREE)


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (errno.ENOSPC, "No space left on device", "make room"),
        (errno.EROFS, "Read-only file system", "give another path"),
    ],
)
def test_what_cannot_be_written_is_told_by_its_name(
    tmp_path, monkeypatch, capsys, code, reason, remedy
):
    def fail(partial: Path, *_, **__):
        partial.touch()
        raise OSError(code, reason, str(partial))

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match=reason) as told:
        write_lines(tmp_path / "a.jsonl", [TREE])
    assert told.value.filename == str(tmp_path / "a.jsonl")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("vlm.cli._run", lambda *_: write_json(tmp_path / "a.json", TREE))
    assert main(["evaluate"]) == 2
    assert capsys.readouterr().err == f"vlm: error: {tmp_path / 'a.json'}: {reason}; {remedy}\n"


def test_hash_follows_the_content_alone(tmp_path):
    for name, content in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).write_text(content)
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b") != file_hash(tmp_path / "c")
    # SHA-256 of "one", as printed by sha256sum (GNU coreutils).
    assert file_hash(tmp_path / "a") == "7692c3ad3540bb80"
