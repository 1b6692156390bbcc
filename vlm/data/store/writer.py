"""StoreWriter: begins a store, goes on with one that was stopped, and finishes it."""

import fcntl
import hashlib
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
        for name in (FINISHED, BEGUN):
            if (folder / name).is_file():
                found, _ = parse_manifest(folder / name)
                if difference := found.difference(manifest):
                    raise InputError(
                        f"store {folder} was made with {difference}; give the same options and "
                        "images, or another --output"
                    )
                return
        if folder.exists() and not _is_empty(folder):
            raise InputError(f"{folder} is there and no store; give another --output")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.folder / FINISHED).is_file() and not self.missing()

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
        """Makes the folders and notes what is about to be made."""
        for view in range(self.manifest.views):
            (self.folder / f"view-{view}").mkdir(parents=True, exist_ok=True)
        if not (self.folder / FINISHED).is_file():
            write_manifest(self.folder / BEGUN, self.manifest)

    def missing(self) -> list[Part]:
        """The parts that are not there yet, views of one shard together."""
        return [part for part in self.parts() if not shard_file(self.folder, *part).is_file()]

    def finish(self, ids: Sequence[Id], files: Sequence[str]) -> None:
        """Writes the index from what all shards say, and the manifest last.

        Args:
            ids: of all images, in the order of the list.
            files: their names, relative to their folder.

        Raises:
            InputError: if a shard is missing or not whole.
        """
        index = self.folder / "index"
        index.mkdir(exist_ok=True)
        NameTable.write(index, "ids", ids)
        NameTable.write(index, "files", files)
        skipped: dict[int, str] = {}
        for view in range(self.manifest.views):
            skipped |= self._index_view(view)
        found = {
            "skipped": [{"image_id": ids[row], "reason": skipped[row]} for row in sorted(skipped)],
            "checksums": self.checksums(),
        }
        write_manifest(self.folder / FINISHED, self.manifest, found)
        (self.folder / BEGUN).unlink(missing_ok=True)

    def checksums(self) -> str:
        """SHA-256 over the checksum lines of all shards, 16 hexadecimal digits."""
        files = (shard_file(self.folder, *part) for part in self.parts())
        lines = [file.with_suffix(".sha256").read_bytes() for file in files]
        return hashlib.sha256(b"".join(lines)).hexdigest()[:16]

    def _index_view(self, view: int) -> dict[int, str]:
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
        index = self.folder / "index"
        np.save(index / f"regions-{view}.npy", np.cumsum([0, *counts]))
        np.save(index / f"checksums-{view}.npy", np.array(checksums, np.uint32))
        np.save(index / f"crops-{view}.npy", np.array(crops, np.float32))
        np.save(index / "sizes.npy", np.array(sizes, np.int32))
        return skipped

    def parts(self) -> list[Part]:
        """All of them, views of one shard together."""
        shards, views = range(self.manifest.shards), range(self.manifest.views)
        return [Part(view, shard) for shard in shards for view in views]


def _is_empty(folder: Path) -> bool:
    """Whether there is nothing in a folder but what an extraction that found no time left."""
    return folder.is_dir() and all(path.name == LOCK for path in folder.iterdir())
