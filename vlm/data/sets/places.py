"""Where the files of a data set are: there, in a folder, at an address; and how they get there."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from vlm.data.sets.entries import Source
from vlm.data.sets.fetch import fetch, what_is_wrong
from vlm.data.sets.photos import fetch_photos
from vlm.data.sets.unpack import require_archive, unpack, work_folder
from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.captions import read_captions

Bar = Callable[[str, str], AbstractContextManager[Callable[[int, int | None], None]]]
"""Opens a progress bar by title and unit; it is told how much is done, and of how much."""

ARCHIVES = ".fetched"
# Unpacked bytes for each packed one: JSON packs well, JPEG not at all.
SWELLING = {True: 1.0, False: 5.0}


class Step(NamedTuple):
    """How one source comes into place.

    Attributes:
        source: in question.
        there: whether nothing is to be done.
        links: what is unpacked elsewhere already, by the path that it gets here.
        archive: that lies in a folder.
        urls: that it is fetched from, where it is nowhere.
        begun: bytes, or photos, that an earlier run left.

    A step with none of these waits for the user, who has to ask the owners.
    """

    source: Source
    there: bool = False
    links: Mapping[str, Path] = {}
    archive: Path | None = None
    urls: tuple[str, ...] = ()
    begun: int = 0

    @property
    def to_fetch(self) -> int:
        """Bytes that come over the network, as far as they are known."""
        if not self.urls or self.source.listed or self.source.size is None:
            return 0
        return max(self.source.size - self.begun, 0)

    @property
    def photos_to_fetch(self) -> int:
        """Photos that come one by one; nobody publishes their bytes."""
        listed = self.urls and self.source.listed
        return sum(self.source.holds.values()) - self.begun if listed else 0

    @property
    def is_of_unknown_size(self) -> bool:
        """Whether it is fetched and nobody publishes how large it is."""
        return bool(self.urls) and self.source.size is None

    @property
    def waits(self) -> bool:
        """Whether the user has to get it."""
        return not (self.there or self.links or self.archive or self.urls)

    def uses(self, folder: Path) -> bool:
        """Whether it takes what it needs from a folder."""
        paths = [*self.links.values(), *([self.archive] if self.archive else [])]
        return any(path.is_relative_to(folder) for path in paths)

    @property
    def to_unpack(self) -> int:
        """Bytes that unpacking writes, about."""
        size = self.archive.stat().st_size if self.archive else self.source.size
        unpacks = self.archive is not None or bool(self.urls)
        return int((size or 0) * SWELLING[self.source.is_photos]) if unpacks else 0


def plan(
    sources: Iterable[Source], output: Path, *, folders: Sequence[Path], mirrors: Sequence[str]
) -> list[Step]:
    """How each source will come into place; nothing is written or fetched.

    Args:
        sources: of a data set.
        output: its folder.
        folders: that may hold archives, or what was unpacked of them.
        mirrors: base addresses; where there are any, the official ones are not asked.

    Raises:
        InputError: if a file of an archive's name cannot be that archive.
    """
    return [_step(source, output, folders, mirrors) for source in sources]


def require_all(steps: Sequence[Step]) -> None:
    """Holds that nothing waits for the user.

    Raises:
        InputError: telling where to ask for what.
    """
    for step in steps:
        if step.waits:
            raise InputError(
                f"{step.source.name} is given only to those who ask at {step.source.form}; ask "
                "there and name the folder that holds it, or its photos, as --from FOLDER"
            )


def bytes_needed(steps: Sequence[Step]) -> int:
    """Room that the disk must have: all that is unpacked, and the largest archive beside it."""
    fetched = [step.to_fetch for step in steps]
    return sum(step.to_unpack for step in steps) + max(fetched, default=0)


def carry_out(step: Step, output: Path, bar: Bar) -> None:
    """Brings a source into place; an archive that was fetched is removed once it is unpacked.

    Raises:
        InputError: if it cannot be fetched or unpacked, or does not hold what it must.
    """
    source, target = step.source, output / step.source.into
    if step.there:
        _discard(source, output)
        return
    if step.links:
        for path, there in step.links.items():
            _link(there, target / path)
    elif source.listed:
        _fetch_listed(step, output, bar)
    elif step.archive is None and source.name in source.holds:
        with bar(source.name, "B") as show:
            fetch(step.urls, target / source.name, check=_json_wrong, progress=show)
    else:
        _unpack(step, output, bar)
    lacks = _lacks(target, source.holds)
    if lacks:
        raise InputError(f"{source.name} is not what was expected: {lacks}; get the official one")


def _step(source: Source, output: Path, folders: Sequence[Path], mirrors: Sequence[str]) -> Step:
    if not _lacks(output / source.into, source.holds):
        return Step(source, there=True)
    for folder in (output / ARCHIVES, *folders):
        links = _unpacked(source, folder)
        if links:
            return Step(source, links=links)
        for name in (source.name, source.name.removesuffix(".gz")):
            if (folder / name).is_file():
                _refuse_at_sight(folder / name, source)
                return Step(source, archive=folder / name)
    urls = tuple(f"{url.rstrip('/')}/{source.name}" for url in mirrors) or source.urls
    if source.listed:
        begun = sum(_photos(output / source.into / path) for path in source.holds)
    else:
        partial = output / ARCHIVES / f"{source.name}.partial"
        begun = partial.stat().st_size if partial.is_file() else 0
    return Step(source, urls=urls, begun=begun)


def _refuse_at_sight(archive: Path, source: Source) -> None:
    """Holds that a file may be an archive, as far as that is told without reading all of it."""
    wrong = what_is_wrong(archive, _size_of(archive, source), None)
    if wrong:
        raise InputError(f"{archive} has {wrong}; remove it, fetch it again")
    require_archive(archive)


def _size_of(archive: Path, source: Source) -> int | None:
    """What an archive must have; one that somebody took .gz off has another size."""
    return source.size if archive.name == source.name else None


def _unpacked(source: Source, folder: Path) -> dict[str, Path]:
    """Where a folder has all that a source holds, unpacked; empty where it has not."""
    for base in (folder, folder / source.into):
        if not _lacks(base, source.holds):
            return {path: base / path for path in source.holds}
    if len(source.holds) == 1:
        ((path, photos),) = source.holds.items()
        if photos and _photos(folder) == photos:
            return {path: folder}
    return {}


def _lacks(base: Path, holds: Mapping[str, int]) -> str:
    """What a folder does not have of what it must hold, in words; empty where it has all."""
    for path, photos in holds.items():
        if photos and _photos(base / path) != photos:
            return f"{path} has {_photos(base / path):,} of {photos:,} photos"
        if not photos and not (base / path).is_file():
            return f"{path} is missing"
    return ""


def _photos(folder: Path) -> int:
    """How many JPEG files a folder has, 0 where there is none."""
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        return sum(name.endswith(".jpg") and not name.startswith(".") for name in names)


def _link(there: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        raise InputError(f"{path} is there and not whole; remove it to use {there} in its place")
    path.symlink_to(there.resolve(), target_is_directory=there.is_dir())


def _fetch_listed(step: Step, output: Path, bar: Bar) -> None:
    (folder,) = step.source.holds
    samples = read_captions(output / step.source.listed, Path(folder))
    names = [sample.path.relative_to(folder).as_posix() for sample in samples]
    with bar(f"photos of {folder}", "photo") as show:
        target = output / step.source.into / folder
        if target.is_symlink():  # what it leads to is somebody else's
            target.unlink()
        fetch_photos(names, target, step.urls, progress=lambda done: show(done, len(names)))


def _unpack(step: Step, output: Path, bar: Bar) -> None:
    source, archive = step.source, step.archive
    if archive is None:
        archive = output / ARCHIVES / source.name
        with bar(source.name, "B") as show:
            fetch(step.urls, archive, size=source.size, checksum=source.checksum, progress=show)
    else:
        wrong = what_is_wrong(archive, _size_of(archive, source), source.checksum)
        if wrong:
            raise InputError(f"{archive} has {wrong}; remove it, fetch it again")
    files = sum(photos or 1 for photos in source.holds.values())
    with bar(f"unpacking {source.name}", "file") as show:
        target = output / source.into
        unpack(archive, target, keep=source.holds, progress=lambda done: show(done, files))
    _discard(source, output)


def _discard(source: Source, output: Path) -> None:
    """Removes the archive that was fetched, and what a run left that was killed at its end."""
    shutil.rmtree(work_folder(output / source.into, source.name), ignore_errors=True)
    archive = output / ARCHIVES / source.name
    archive.unlink(missing_ok=True)
    if archive.parent.is_dir() and not any(archive.parent.iterdir()):
        archive.parent.rmdir()


def _json_wrong(file: Path) -> str | None:
    """What is wrong with a JSON file, None where nothing is."""
    try:
        read_json(file)
    except InputError:
        return "no whole JSON"
    return None
