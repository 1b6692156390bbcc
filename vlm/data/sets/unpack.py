"""Archives unpacked whole or not at all, and never outside their folder."""

import bz2
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from vlm.data.sets.fetch import require_room
from vlm.errors import InputError
from vlm.formats.ids import shown

Progress = Callable[[int], None]
"""Told how many files are out."""

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,  # a zip file that asks for a password, or is packed in an unknown way
)


class _Entry(NamedTuple):
    """A file of an archive."""

    name: str
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path, folder: Path, *, keep: Collection[str], progress: Progress | None = None
) -> None:
    """Unpacks a zip or tar archive, compressed or not.

    Everything goes to a folder of its own beside the goal first and is moved when it is whole;
    files of the same names are replaced. Owners, times and permissions are not taken over.

    Args:
        archive: a file.
        folder: that its entries go to; it is made.
        keep: paths in it, of files or folders, that are unpacked; the rest stays packed.
        progress: told of every file.

    Raises:
        InputError: if the archive is damaged, does not hold what is to be kept, or has an entry
            that leads outside, is a link or a device, or is there twice; if the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = work_folder(folder, archive.name)
    shutil.rmtree(work, ignore_errors=True)
    try:
        with _told_by_name(archive):
            _write(archive, work, keep, progress)
        absent = [path for path in keep if not (work / path).exists()]
        if absent:
            raise InputError(f"{archive} does not hold {shown(absent)}; give the official archive")
        for path in keep:
            _move(work / path, folder / path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def require_archive(file: Path) -> None:
    """Holds that a file begins or ends as an archive does; the rest is not read.

    Raises:
        InputError: if it does not.
    """
    with _told_by_name(file):
        if not zipfile.is_zipfile(file):
            with _Opened(file) as stream, tarfile.open(fileobj=stream, mode="r|"):
                pass


def work_folder(folder: Path, archive: str) -> Path:
    """Where an archive of that name is unpacked before it is moved to a folder."""
    return folder / f".{archive}.partial"


@contextmanager
def _told_by_name(archive: Path) -> Iterator[None]:
    """What libraries say of an archive, in one sentence."""
    try:
        yield
    except DAMAGED as error:
        raise InputError(
            f"{archive} is damaged or no archive; remove it, fetch it again"
        ) from error
    except FileExistsError as error:
        raise InputError(
            f"{archive} has the entry {Path(error.filename).name!r} twice; get it from elsewhere"
        ) from error
    except OSError as error:
        if error.errno is None:  # the library of bzip2 tells it so
            raise _damaged(archive) from error
        raise InputError(
            f"{archive} cannot be unpacked ({error.strerror}); make room or give another --output"
        ) from error


def _write(archive: Path, work: Path, keep: Collection[str], progress: Progress | None) -> None:
    work.mkdir()
    for number, entry in enumerate(_entries(archive, work.parent, keep), start=1):
        path = work / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with entry.open() as packed, path.open("xb") as stream:
            shutil.copyfileobj(packed, stream, 1 << 20)
        if progress is not None:
            progress(number)


def _entries(archive: Path, folder: Path, keep: Collection[str]) -> Iterator[_Entry]:
    """The files to be kept, every entry of the archive looked at before it is passed by."""
    if zipfile.is_zipfile(archive):
        yield from _zip_entries(archive, folder, keep)
        return
    with _Opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            name = _checked(archive, member.name)
            if not (member.isfile() or member.isdir()):
                kind = "a link" if member.issym() or member.islnk() else "a device"
                raise _unsafe(archive, member.name, f"is {kind}")
            packed = tar.extractfile(member) if member.isfile() and _is_kept(name, keep) else None
            if packed is not None:
                yield _Entry(name, lambda packed=packed: packed)
        stream.require_end()


class _Opened(io.RawIOBase):
    """The bytes of a tar file, unpacked where it is packed as a whole."""

    def __init__(self, archive: Path) -> None:
        with archive.open("rb") as stream:
            start = stream.read(6)
        openers = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
        found = (opener for mark, opener in openers.items() if start.startswith(mark))
        self._stream = next(found, open)(archive, "rb")
        self._end = b""

    def read(self, size: int = -1) -> bytes:
        """Some more of them."""
        block = self._stream.read(size)
        self._end = (self._end + block)[-tarfile.BLOCKSIZE :]
        return block

    def require_end(self) -> None:
        """Reads the rest, so that sums are checked, and holds that it ends as a tar file does.

        Raises:
            TarError: if it breaks off, between two entries say, which the library passes over.
        """
        while self.read(1 << 20):
            pass
        if self._end != bytes(tarfile.BLOCKSIZE):
            raise tarfile.TarError

    def close(self) -> None:
        """Closes the file."""
        self._stream.close()
        super().close()


def _zip_entries(archive: Path, folder: Path, keep: Collection[str]) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as packed:
        kept = []
        for member in packed.infolist():
            # What the file says, not what the library made of it for this system.
            name = _checked(archive, member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                what = "a link" if kind == stat.S_IFLNK else "a device"
                raise _unsafe(archive, member.orig_filename, f"is {what}")
            if not member.is_dir() and _is_kept(name, keep):
                kept.append((name, member))
        require_room(folder, sum(member.file_size for _, member in kept))
        for name, member in kept:
            yield _Entry(name, lambda member=member: packed.open(member))


def _checked(archive: Path, name: str) -> str:
    """An entry's path below the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or (path.parts[:1] and path.parts[0].endswith(":")):
        raise _unsafe(archive, name, "is an absolute path")
    if ".." in path.parts:
        raise _unsafe(archive, name, "leads outside")
    if "\0" in name:
        raise _unsafe(archive, name, "is no name of a file")
    return path.as_posix()


def _is_kept(name: str, keep: Collection[str]) -> bool:
    """Whether a path is one of those to be kept, or below one; not what macOS adds."""
    path = PurePosixPath(name)
    if path.name.startswith("._") or path.name == ".DS_Store":
        return False
    return any(str(place) in keep for place in (path, *path.parents))


def _damaged(archive: Path) -> InputError:
    return InputError(f"{archive} is damaged or no archive; remove it, fetch it again")


def _unsafe(archive: Path, name: str, reason: str) -> InputError:
    return InputError(
        f"{archive} has the entry {name!r}, which {reason}; nothing of it was unpacked, get it "
        "from elsewhere"
    )


def _move(source: Path, target: Path) -> None:
    """Moves a file or folder to its name, what is there already being replaced file by file."""
    if target.is_symlink():  # what it leads to is somebody else's
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir() and target.is_dir():
        for path in source.iterdir():
            _move(path, target / path.name)
    else:
        source.replace(target)
