"""One shard of a store: the regions of consecutive images as flat arrays, and what is in them.

A shard is a file of sections, one behind the other: features ``(R, D)``, then for 8-bit ones
their scales ``(R,)`` as 16-bit floats, then, where regions are no plain grid, boxes ``(R, 4)`` as
32-bit floats and kinds ``(R,)`` as bytes; ``R`` counts the regions of all its images. A JSON
footer and its length close it. So the arrays lie at places that ``R`` alone decides.
"""

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vlm.errors import InputError

FOOTER_LENGTH = 8  # bytes of the number at a shard's end
CODE_MAX = 127  # of 8-bit codes, which are symmetric
SCALE_MAX = np.float16(515.5)  # the largest that keeps CODE_MAX times itself a 16-bit float


class Layout(NamedTuple):
    """What every image of a store has in common.

    Attributes:
        dtype: ``float16``, or ``int8`` with a scale a region.
        width: of a region's features, ``D``.
        grid: (rows, columns) where regions are a grid over the whole view; None where each has
            a box and a kind of its own.
    """

    dtype: str
    width: int
    grid: tuple[int, int] | None

    @property
    def region_bytes(self) -> int:
        """Bytes that one region takes."""
        numbers = 2 * self.width if self.dtype == "float16" else self.width + 2
        return numbers + (0 if self.grid else 4 * 4 + 1)


class Regions(NamedTuple):
    """The regions of one view of one image, as arrays.

    Attributes:
        features: ``(N, D)`` floats.
        boxes: ``(N, 4)`` as x0 y0 x1 y1 in [0, 1] of the original image; None on a plain grid.
        kinds: ``(N,)`` bytes, 0 for a grid cell and 1 for a box; None on a plain grid.
    """

    features: NDArray[np.floating]
    boxes: NDArray[np.float32] | None = None
    kinds: NDArray[np.uint8] | None = None


@dataclass
class Footer:
    """What a shard says of its images, one entry each.

    Attributes:
        counts: of regions; 0 for an image that was skipped.
        checksums: CRC-32 of each image's bytes, section by section.
        sizes: [height, width] of the original images in pixels.
        crops: of the view, x0 y0 x1 y1 in [0, 1] of the original images.
        skipped: the reason, by place in the shard.
    """

    counts: list[int] = field(default_factory=list)
    checksums: list[int] = field(default_factory=list)
    sizes: list[list[int]] = field(default_factory=list)
    crops: list[list[float]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


class ShardWriter:
    """Gathers the images of a shard in order and writes them as one file.

    Args:
        layout: of the store.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._sections: list[tuple[NDArray, ...]] = []
        self._footer = Footer()

    def add(
        self, regions: Regions, *, size: tuple[int, int], crop: tuple[float, float, float, float]
    ) -> None:
        """Adds an image.

        Args:
            regions: of it.
            size: (height, width) of the original in pixels.
            crop: what of the original the view shows, x0 y0 x1 y1 in [0, 1].

        Raises:
            InputError: if a feature is not finite as a 16-bit float.
        """
        sections = encode(regions, self._layout)
        self._sections.append(sections)
        self._footer.counts.append(len(regions.features))
        self._footer.checksums.append(checksum(sections))
        self._footer.sizes.append(list(size))
        self._footer.crops.append(list(crop))

    def skip(self, reason: str) -> None:
        """Leaves an image out, and says why."""
        self._footer.skipped[str(len(self._footer.counts))] = reason
        self._footer.counts.append(0)
        self._footer.checksums.append(0)
        self._footer.sizes.append([0, 0])
        self._footer.crops.append([0.0, 0.0, 1.0, 1.0])

    def write(self, file: Path) -> None:
        """Writes the shard and, before it, its checksum in the format of ``sha256sum``.

        Plain writes: a full disk is an error here, but kills whoever writes a memory map.

        Raises:
            OSError: if the disk is full or the folder cannot be written.
        """
        footer = json.dumps(asdict(self._footer)).encode()
        parts = [
            array.tobytes() for section in zip(*self._sections, strict=True) for array in section
        ]
        content = b"".join([*parts, footer, len(footer).to_bytes(FOOTER_LENGTH, "little")])
        digest = hashlib.sha256(content)
        partial = file.with_suffix(".partial")
        try:
            with partial.open("wb") as stream:
                stream.write(content)  # at once, so that the system may keep it in large pages
                stream.flush()
                os.fsync(stream.fileno())
            # First the checksum, then the shard: whoever finds a shard finds its checksum.
            file.with_suffix(".sha256").write_text(f"{digest.hexdigest()}  {file.name}\n")
            partial.rename(file)
        finally:
            partial.unlink(missing_ok=True)


def read_footer(file: Path) -> Footer:
    """What a shard says of its images.

    Raises:
        InputError: if the file is cut off or no shard.
    """
    try:
        with file.open("rb") as stream:
            stream.seek(-FOOTER_LENGTH, os.SEEK_END)
            length = int.from_bytes(stream.read(), "little")
            stream.seek(-FOOTER_LENGTH - length, os.SEEK_END)
            return Footer(**json.loads(stream.read(length)))
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"shard {file} is not whole; {REMEDY}") from error


REMEDY = "remove that file and run the same vlm extract again, which makes it anew"


def matches_checksum(file: Path) -> bool:
    """Whether a shard's bytes are those that were written."""
    try:
        written = file.with_suffix(".sha256").read_text().split()[0]
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == written
    except (OSError, IndexError):
        return False


class Shard:
    """A shard to read from, memory-mapped.

    Args:
        file: of the shard.
        layout: of the store.
        regions: of its images among those of the view.

    Raises:
        InputError: if the file is missing or shorter than its arrays.
    """

    def __init__(self, file: Path, layout: Layout, regions: range) -> None:
        content = _mapped(file)
        if len(content) < len(regions) * layout.region_bytes + FOOTER_LENGTH:
            raise InputError(f"shard {file} is cut off at {len(content)} bytes; {REMEDY}")
        self.file = file
        self._first = regions.start
        self._sections: list[NDArray] = []
        start = 0
        for dtype, shape in _sections(layout, len(regions)):
            end = start + np.dtype(dtype).itemsize * int(np.prod(shape))
            self._sections.append(content[start:end].view(dtype).reshape(shape))
            start = end

    def image(self, start: int, stop: int) -> list[NDArray]:
        """The sections of an image, views into the map.

        Args:
            start: of its regions among those of the view.
            stop: behind the last of them.
        """
        first = self._first
        return [section[start - first : stop - first] for section in self._sections]


def _mapped(file: Path) -> NDArray[np.uint8]:
    """The bytes of a file, mapped by torch: Python's own maps hold a descriptor each."""
    try:
        size = file.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"shard {file} is missing; run the same vlm extract again") from error
    if not size:
        raise InputError(f"shard {file} is empty; {REMEDY}")
    try:
        content = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"shard {file} cannot be mapped ({reason}); make it readable") from error
    return content.numpy()


def _sections(layout: Layout, regions: int) -> list[tuple[type, tuple[int, ...]]]:
    """Type and shape of each section, in the file's order."""
    found: list[tuple[type, tuple[int, ...]]] = [
        (np.float16 if layout.dtype == "float16" else np.int8, (regions, layout.width))
    ]
    if layout.dtype == "int8":
        found.append((np.float16, (regions,)))
    if layout.grid is None:
        found += [(np.float32, (regions, 4)), (np.uint8, (regions,))]
    return found


def encode(regions: Regions, layout: Layout) -> tuple[NDArray, ...]:
    """The sections of an image.

    Raises:
        InputError: if a feature is not finite as a 16-bit float.
    """
    features = np.asarray(regions.features)
    with np.errstate(over="ignore"):
        half = features.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError(
            "the features are not finite as 16-bit floats, which a store keeps; choose another "
            "layer or backbone"
        )
    numbers = (half,) if layout.dtype == "float16" else quantise(features)
    if layout.grid is not None:
        return numbers
    assert regions.boxes is not None
    assert regions.kinds is not None
    return *numbers, regions.boxes.astype(np.float32), regions.kinds.astype(np.uint8)


def quantise(features: NDArray[np.floating]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """8-bit codes and a scale a region: ``features`` is nearly ``codes * scales``.

    Args:
        features: ``(N, D)``.

    Returns:
        codes ``(N, D)`` in [-127, 127] and scales ``(N,)``.
    """
    peaks = np.abs(features).max(axis=1, initial=0).astype(np.float32)
    scales = np.minimum((peaks / CODE_MAX).astype(np.float16), SCALE_MAX)
    divisors = scales.astype(np.float32)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        codes = np.rint(np.where(divisors > 0, features / divisors, 0))
    # The scale is rounded too, so the peak may lie half a step beyond the last code.
    return np.clip(codes, -CODE_MAX, CODE_MAX).astype(np.int8), scales


def checksum(sections: tuple[NDArray, ...] | list[NDArray]) -> int:
    """CRC-32 of an image's bytes, section by section."""
    value = 0
    for section in sections:
        value = zlib.crc32(np.ascontiguousarray(section).data, value)
    return value
