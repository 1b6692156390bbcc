"""The plan of an extraction: images, bytes and time, before anything is done."""

from time import perf_counter
from typing import NamedTuple

from vlm.data.store.manifest import shard_file
from vlm.disk import existing, free_bytes, in_words
from vlm.errors import InputError
from vlm.extract.extraction import Extraction


class Plan(NamedTuple):
    """What an extraction takes.

    Attributes:
        images: that the store will hold.
        views: of each.
        left: views over all images that are still to be looked at.
        bytes: of the finished store, at most.
        free: bytes on its disk.
        rate: views a second that this machine looks at, decoding included; 0 if nothing is left.
    """

    images: int
    views: int
    left: int
    bytes: int
    free: int
    rate: float

    def __str__(self) -> str:
        views = f" x {self.views} views" if self.views > 1 else ""
        size = f"{self.images:,} images{views}, {in_words(self.bytes)} on disk"
        free = f"({in_words(self.free)} free)"
        if not self.left:
            return f"{size} {free}: all there already"
        if not self.rate:
            return f"{size} {free}; {self.left:,} to look at"
        time_left = _duration(self.left / self.rate)
        return f"{size} {free}; {self.left:,} to look at, {self.rate:.1f}/s: {time_left}"


def plan(extraction: Extraction, *, workers: int = 0) -> Plan:
    """What is left to do, timed on the first images.

    Args:
        extraction: that is planned.
        workers: processes that will decode images.

    Raises:
        InputError: if the disk has not the room.
    """
    manifest, writer = extraction.manifest, extraction.writer
    left = sum(len(manifest.rows(part.shard)) for part in writer.missing())
    total = manifest.views * _regions(extraction) * manifest.layout.region_bytes
    files = [shard_file(writer.folder, *part) for part in writer.parts()]
    done = sum(file.stat().st_size for file in files if file.is_file())
    place, free = existing(writer.folder), free_bytes(writer.folder)
    if left and total - done > free:
        raise InputError(
            f"the store needs {in_words(total - done)} more, the disk of {place} has "
            f"{in_words(free)} free; make room, name another --output, or halve it by --dtype int8"
        )
    rate = _rate(extraction, workers) if left else 0.0
    return Plan(manifest.images, manifest.views, left, total, free, rate)


def _rate(extraction: Extraction, workers: int) -> float:
    """Views a second over the first images, the first pass not counted."""
    rows, start = range(min(extraction.manifest.batch, extraction.manifest.images)), perf_counter()
    batch = extraction.loader.batch(rows, 0)
    images = len(batch.pixels)
    if not images:
        return 0.0
    decoding = (perf_counter() - start) / images
    extraction.look(batch)
    start = perf_counter()
    extraction.look(batch)
    looking = (perf_counter() - start) / images
    seconds = max(looking, decoding / workers) if workers else looking + decoding
    return extraction.fabric.world_size / seconds


def _regions(extraction: Extraction) -> int:
    """Of one view of all images."""
    (rows, columns), boxes = extraction.backbone.grid, extraction.loader.boxes or {}
    return extraction.manifest.images * rows * columns + sum(map(len, boxes.values()))


def _duration(seconds: float) -> str:
    """For people: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
