"""NameTable: a million names and the rows they stand in, found without being read into memory."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlm.errors import InputError
from vlm.formats.ids import Id


class NameTable:
    """Ids or file names by row and rows by name, in four memory-mapped files.

    Rows are found by bisection over sorted 64-bit hashes, then held against the name itself.

    Args:
        folder: that :meth:`write` wrote to.
        kind: of the names, the stem of the files.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._file = folder / f"{kind}.txt"
        self._hashes = mapped(folder / f"{kind}_hashes.npy")
        self._rows = mapped(folder / f"{kind}_rows.npy")
        self._ends = mapped(folder / f"{kind}_ends.npy")
        self._text = np.memmap(self._file, np.uint8, "r")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> Id:
        """The name in a row; whole numbers and texts come back as what they were."""
        start = int(self._ends[row - 1]) if row else 0
        try:
            return json.loads(self._text[start : int(self._ends[row])].tobytes())
        except (ValueError, IndexError) as error:
            raise InputError(f"{self._file} is damaged; run the same vlm extract again") from error

    def __iter__(self) -> Iterator[Id]:
        return (self[row] for row in range(len(self)))

    def find(self, name: Id) -> int | None:
        """The row of a name, None where there is none."""
        key = _hash(_spelled(name))
        place = int(np.searchsorted(self._hashes, key))
        while place < len(self._hashes) and self._hashes[place] == key:
            row = int(self._rows[place])
            if self[row] == name:
                return row
            place += 1
        return None

    @staticmethod
    def write(folder: Path, kind: str, names: Sequence[Id]) -> None:
        """Writes a table, the names in the order of their rows, a line each.

        Args:
            folder: that is there.
            kind: of the names, the stem of the files.
            names: all different.
        """
        lines = [_spelled(name) + b"\n" for name in names]
        hashes = np.array([_hash(line[:-1]) for line in lines], np.uint64)
        order = np.argsort(hashes, kind="stable")
        (folder / f"{kind}.txt").write_bytes(b"".join(lines))
        np.save(folder / f"{kind}_ends.npy", np.cumsum([len(line) for line in lines]))
        np.save(folder / f"{kind}_hashes.npy", hashes[order])
        np.save(folder / f"{kind}_rows.npy", order)


def mapped(file: Path) -> NDArray:
    """An array in a file, mapped; as a plain one, which is quicker to take views of."""
    return np.asarray(np.load(file, mmap_mode="r"))


def _spelled(name: Id) -> bytes:
    """JSON, so that the number 7 and the text "7" are two names."""
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _hash(text: bytes) -> np.uint64:
    return np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), np.uint64)[0]
