"""Archives are unpacked whole, only what is wanted of them, and nothing lands outside."""

import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vlm.data.sets import fetch
from vlm.data.sets.unpack import unpack
from vlm.errors import InputError

FILES = {
    "photos/a.jpg": b"first",
    "photos/deep/b.jpg": b"second" * 1000,
    "texts/c.json": b"{}",
    "photosnot/d.jpg": b"",
    "photos/.DS_Store": b"mac",
    "__MACOSX/photos/._a.jpg": b"mac",
}
KEPT = {name: FILES[name] for name in list(FILES)[:3]}
KEEP = ("photos", "texts/c.json")


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(path.suffix, "w")
    with tarfile.open(path, mode) as archive:
        folder = tarfile.TarInfo("./photos")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}" if name in FILES else name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def there(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


MAKERS = [
    (zipped, "a.zip"),
    (tarred, "a.tar"),
    (tarred, "a.tar.gz"),
    (tarred, "a.tar.xz"),
    (tarred, "a.tar.bz2"),
]


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_what_is_wanted_is_unpacked(tmp_path, make: Callable, name):
    seen = []
    archive = make(tmp_path / name, FILES)
    unpack(archive, tmp_path / "new" / "out", keep=KEEP, progress=seen.append)
    assert there(tmp_path / "new") == {f"out/{path}": KEPT[path] for path in KEPT}
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_files_of_before_are_replaced_and_others_stay(tmp_path, make: Callable, name):
    archive, out = make(tmp_path / name, FILES), tmp_path / "out"
    (out / "photos").mkdir(parents=True)
    (out / "photos" / "a.jpg").write_bytes(b"half of an earlier")
    (out / "photos" / "mine.jpg").write_bytes(b"mine")
    (out / f".{name}.partial").mkdir()  # a killed run's
    unpack(archive, out, keep=KEEP)
    assert there(out) == KEPT | {"photos/mine.jpg": b"mine"}


def test_nothing_goes_through_a_link_of_before(tmp_path):
    others = tmp_path / "others"
    others.mkdir()
    (others / "a.jpg").write_bytes(b"somebody's")
    out = tmp_path / "out"
    out.mkdir()
    (out / "photos").symlink_to(others)
    unpack(zipped(tmp_path / "a.zip", FILES), out, keep=KEEP)
    assert there(others) == {"a.jpg": b"somebody's"}
    assert there(out) == KEPT


EVIL = [
    ("../evil", "leads outside"),
    ("photos/../../evil", "leads outside"),
    ("photos/..", "leads outside"),
    ("..\\evil", "leads outside"),
    ("/tmp/evil", "is an absolute path"),
    ("//evil", "is an absolute path"),
    ("\\evil", "is an absolute path"),
    ("C:/evil", "is an absolute path"),
]


def refused(archive: Path) -> str:
    """The sentence, after a look that nothing was written anywhere."""
    before = there(archive.parent)
    with pytest.raises(InputError) as told:
        unpack(archive, archive.parent / "out" / "deep", keep=KEEP)
    assert there(archive.parent) == before
    assert list((archive.parent / "out" / "deep").iterdir()) == []
    return str(told.value).removeprefix(f"{archive} ")


@pytest.mark.parametrize(("make", "file"), MAKERS)
@pytest.mark.parametrize(("name", "reason"), EVIL)
def test_ways_out_are_refused(tmp_path, make: Callable, file, name, reason):
    told = refused(make(tmp_path / file, FILES | {name: b"evil"}))
    assert told == (
        f"has the entry {name!r}, which {reason}; nothing of it was unpacked, get it from elsewhere"
    )


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_links_and_devices_in_tar_are_refused(tmp_path, kind, what):
    archive = tarred(tmp_path / "a.tar", FILES)
    with tarfile.open(archive, "a") as tar:
        entry = tarfile.TarInfo("photos/odd")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    assert refused(archive).startswith(f"has the entry 'photos/odd', which is {what}; nothing")


@pytest.mark.parametrize(("kind", "what"), [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a device")])
def test_links_and_devices_in_zip_are_refused(tmp_path, kind, what):
    archive = zipped(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(archive, "a") as packed:
        entry = zipfile.ZipInfo("photosnot/odd")  # one that would not even be unpacked
        entry.external_attr = (kind | 0o777) << 16
        packed.writestr(entry, "/etc/passwd")
    assert refused(archive).startswith(f"has the entry 'photosnot/odd', which is {what}; nothing")


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_what_is_not_there_is_told(tmp_path, make: Callable, name):
    archive = make(tmp_path / name, {"photosnot/d.jpg": b"", "texts/c.json": b""})
    assert refused(archive) == "does not hold photos; give the official archive"


@pytest.mark.parametrize(("make", "name"), MAKERS)
def test_an_entry_that_comes_twice_is_told(tmp_path, make: Callable, name):
    archive = make(tmp_path / name, FILES | {"photos//a.jpg": b"other"})
    assert refused(archive) == "has the entry 'a.jpg' twice; get it from elsewhere"


@pytest.mark.parametrize(("make", "name"), MAKERS)
@pytest.mark.parametrize("left", [-1, 30, 20, 1, 0])
def test_damaged_archives_are_told(tmp_path, make: Callable, name, left):
    archive = make(tmp_path / name, FILES)
    content = archive.read_bytes()
    if name == "a.tar" and left < 0:
        left = content.rindex(b"__MACOSX") // 512 * 512  # cut between two entries
    archive.write_bytes(content[:left] if left else b"<html>no archive</html>" * 99)
    assert refused(archive) == "is damaged or no archive; remove it, fetch it again"


def test_a_flipped_byte_is_found_by_the_archives_own_sum(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, content in FILES.items():
            packed.writestr(name, content)
    content = bytearray(archive.read_bytes())
    content[content.index(b"secondsecond") + 5] ^= 1
    archive.write_bytes(content)
    assert refused(archive) == "is damaged or no archive; remove it, fetch it again"


def test_a_zip_that_asks_for_a_password_is_told(tmp_path):
    archive = zipped(tmp_path / "a.zip", FILES)
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(mark), bytes(content)):
            content[found.start() + offset] |= 1
    archive.write_bytes(content)
    assert "is damaged or no archive" in refused(archive)


def test_room_is_looked_for_first(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", FILES)
    monkeypatch.setattr(fetch, "free_bytes", lambda folder: 6_000)
    with pytest.raises(InputError, match="GB free; make room or give another --output"):
        unpack(archive, tmp_path / "out", keep=KEEP)
    assert there(tmp_path / "out") == {}
