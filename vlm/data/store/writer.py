"""StoreWriter: begins a store, goes on with one that was stopped, and finishes it."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vlm.data.store.manifest import (
    BEGUN,
    FINISHED,
    Manifest,
    parse_manifest,
    shard_file,
    write_manifest,
)
from vlm.data.store.names import NameTable
from vlm.data.store.shard import read_footer
from vlm.errors import InputError
from vlm.files import file_hash
from vlm.formats.ids import Id

LOCK = ".lock"


class Part(NamedTuple):
    """A piece of work: one shard of one view.

    Attributes:
        view: of the images.
        shard: its number.
    """

    view: int
    shard: int


class StoreWriter:
    """The folder of a store while it is made.

    Whatever stops the work, a shard is there whole or not at all, and the manifest comes last;
    so the same call goes on where the last one stopped.

    Args:
        folder: of the store, made where it is missing.
        manifest: of the store.

    Raises:
        InputError: if the folder holds a store of another manifest, or something else.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._compare()

    @property
    def finished(self) -> bool:
        """Whether the manifest of a finished store is there."""
        return (self.folder / FINISHED).is_file()

    def is_complete(self) -> bool:
        """Whether there is nothing to do: all shards are there and the index is whole.

        Raises:
            InputError: if it is another store that was finished here in the meantime.
        """
        self._compare()
        return self.finished and not self.missing() and index_is_whole(self.folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other extractions out until the block ends, however it does.

        Raises:
            InputError: if another one is at work on this store.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"another extraction is at work on store {self.folder}; wait for it, "
                    "or give another --output"
                ) from error
            yield

    def begin(self) -> None:
        """Notes what is about to be made, under the lock, and makes the folders.

        Raises:
            InputError: if somebody has begun another store here in the meantime.
        """
        self._compare()
        for left in self.folder.rglob("*.partial"):  # of a run that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if not self.finished:
            write_manifest(self.folder / BEGUN, self.manifest)
        for view in range(self.manifest.views):
            shard_file(self.folder, view, 0).parent.mkdir(parents=True, exist_ok=True)

    def missing(self) -> list[Part]:
        """The parts that are not there yet, views of one shard together."""
        return [part for part in self.parts() if not self._is_there(part)]

    def finish(self, ids: Sequence[Id], files: Sequence[str]) -> None:
        """Writes the index from what all shards say, and the manifest last.

        Args:
            ids: of all images, in the order of the list.
            files: their names, relative to their folder.

        Raises:
            InputError: if a shard is missing or not whole.
        """
        skipped = self._write_index(ids, files)
        found = {
            "skipped": [{"image_id": ids[row], "reason": skipped[row]} for row in sorted(skipped)],
            "checksums": self.checksums(),
            "index": index_checksums(self.folder),
        }
        if self.finished and parse_manifest(self.folder / FINISHED)[1] != found:
            raise InputError(
                f"what store {self.folder} had lost came out otherwise when it was made anew; "
                "images or this machine have changed, extract the store to another --output"
            )
        write_manifest(self.folder / FINISHED, self.manifest, found)
        (self.folder / BEGUN).unlink(missing_ok=True)

    def _write_index(self, ids: Sequence[Id], files: Sequence[str]) -> dict[int, str]:
        """Puts an index in its place, whole or not at all; what was skipped, by row."""
        index = self.folder / "index.partial"
        index.mkdir()
        NameTable.write(index, "ids", ids)
        NameTable.write(index, "files", files)
        skipped: dict[int, str] = {}
        for view in range(self.manifest.views):
            skipped |= self._index_view(index, view)
        shutil.rmtree(self.folder / "index", ignore_errors=True)
        index.rename(self.folder / "index")
        return skipped

    def _compare(self) -> None:
        """Holds the folder against the manifest."""
        for name in (FINISHED, BEGUN):
            if (self.folder / name).is_file():
                found, _ = parse_manifest(self.folder / name)
                if difference := found.difference(self.manifest):
                    raise InputError(
                        f"store {self.folder} was made with {difference}; give the same options "
                        "and images, or another --output"
                    )
                return
        if self.folder.exists() and not _is_empty(self.folder):
            raise InputError(f"{str(self.folder)!r} exists and is no store; give another --output")

    def _is_there(self, part: Part) -> bool:
        """Whether a shard is there with its checksum, and not cut off."""
        file = shard_file(self.folder, *part)
        if not (file.is_file() and file.with_suffix(".sha256").is_file()):
            return False
        try:
            return len(read_footer(file).counts) == len(self.manifest.rows(part.shard))
        except InputError:
            return False

    def checksums(self) -> str:
        """SHA-256 over the checksum lines of all shards, 16 hexadecimal digits."""
        files = (shard_file(self.folder, *part) for part in self.parts())
        lines = [file.with_suffix(".sha256").read_bytes() for file in files]
        return hashlib.sha256(b"".join(lines)).hexdigest()[:16]

    def _index_view(self, index: Path, view: int) -> dict[int, str]:
        """Writes the arrays of a view; what was skipped in it, by row."""
        counts, checksums, sizes, crops = [], [], [], []
        skipped: dict[int, str] = {}
        for shard in range(self.manifest.shards):
            footer = read_footer(shard_file(self.folder, view, shard))
            first = self.manifest.rows(shard).start
            skipped |= {first + int(place): why for place, why in footer.skipped.items()}
            counts += footer.counts
            checksums += footer.checksums
            sizes += footer.sizes
            crops += footer.crops
        np.save(index / f"regions-{view}.npy", np.cumsum([0, *counts]))
        np.save(index / f"checksums-{view}.npy", np.array(checksums, np.uint32))
        np.save(index / f"crops-{view}.npy", np.array(crops, np.float32))
        np.save(index / "sizes.npy", np.array(sizes, np.int32))
        return skipped

    def parts(self) -> list[Part]:
        """All of them, views of one shard together."""
        shards, views = range(self.manifest.shards), range(self.manifest.views)
        return [Part(view, shard) for shard in shards for view in views]


def index_checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a store's index, 16 hexadecimal digits."""
    return {file.name: file_hash(file) for file in sorted((folder / "index").iterdir())}


def index_is_whole(folder: Path) -> bool:
    """Whether the index of a finished store is as it was written.

    Raises:
        InputError: if the manifest cannot be used.
    """
    _, found = parse_manifest(folder / FINISHED)
    return (folder / "index").is_dir() and found.get("index") == index_checksums(folder)


def _is_empty(folder: Path) -> bool:
    """Whether there is nothing in a folder but what an extraction that found no time left."""
    if not folder.is_dir():
        return False
    return all(path.name == LOCK or path.suffix == ".partial" for path in folder.iterdir())
