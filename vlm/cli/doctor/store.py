"""A store of region features: what it holds, and whether all of it is there."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vlm.cli.doctor.finding import Finding, fail, ok, warn
from vlm.data.store.manifest import BEGUN, FINISHED, Manifest, parse_manifest, shard_file
from vlm.data.store.shard import FOOTER_LENGTH, matches_checksum, read_footer
from vlm.data.store.writer import Part, StoreWriter, index_is_whole
from vlm.disk import in_words
from vlm.errors import InputError
from vlm.formats.ids import shown

REIMPORT = "remove the store and run the same vlm import again"
# A shard that is gone is made anew by the next run, one that is spoilt only once it is gone.
GONE, SPOILT = ("missing", "without its checksum"), ("cut off", "changed")


def is_store(folder: Path) -> bool:
    """Whether a folder is one, finished or not."""
    return (folder / FINISHED).is_file() or (folder / BEGUN).is_file()


def can_be_opened(folder: Path) -> bool:
    """Whether a store is finished and its index is as it was written.

    Raises:
        InputError: if its manifest cannot be used.
    """
    if not (folder / FINISHED).is_file():
        return False
    return index_is_whole(folder)


def examine_store(folder: Path, *, full: bool) -> Iterator[Finding]:
    """A store as far as one can tell without its backbone.

    Args:
        folder: of the store.
        full: whether every byte of the shards is held against their checksums; the index, which
            is small, always is.

    Raises:
        InputError: if the manifest cannot be used.
    """
    if not (folder / FINISHED).is_file():
        yield _unfinished(folder)
        return
    manifest, found = parse_manifest(folder / FINISHED)
    skipped = found.get("skipped", [])
    writer = StoreWriter(folder, manifest)
    files = [shard_file(folder, *part) for part in writer.parts()]
    size = sum(file.stat().st_size for file in files if file.is_file())
    whole = manifest.images - len(skipped)
    yield ok(folder, f"a store of {whole:,} images {_made_with(manifest)}; {in_words(size)}")
    if skipped:
        yield _skipped(folder, skipped)
    if not can_be_opened(folder):
        told = "its index is damaged or has changed since it was written"
        yield fail(folder, told, _new_index(manifest))
    damage = _damage(folder, writer.parts(), manifest)
    if not damage and writer.checksums() != found.get("checksums"):
        remedy = f"make it again: vlm {_verb(manifest)} with another --output"
        yield fail(folder, "holds shards of another extraction than its manifest tells of", remedy)
        return
    if not damage and full:
        damage = _changed(folder, writer.parts())
    yield _shards(folder, damage, manifest, full=full)


def _new_index(manifest: Manifest) -> str:
    """How the index of a store is made anew; its shards tell all that stands in it."""
    if _verb(manifest) == "import":
        return REIMPORT
    return "run the same vlm extract again, which makes the index anew from the shards"


def _verb(manifest: Manifest) -> str:
    """That made the store; imports have no geometry."""
    return "extract" if manifest.geometry else "import"


def _unfinished(folder: Path) -> Finding:
    manifest, _ = parse_manifest(folder / BEGUN)
    writer = StoreWriter(folder, manifest)
    missing, parts = len(writer.missing()), len(writer.parts())
    told = f"a store that is not finished, {missing} of {parts} shards are missing"
    remedy = f"run the same vlm {_verb(manifest)} again, which goes on, unless one is at work"
    return fail(folder, told, remedy)


def _made_with(manifest: Manifest) -> str:
    grid = manifest.grid
    regions = f"{grid[0]}x{grid[1]} regions" if grid else "regions with boxes"
    views = f"{manifest.views} views, " if manifest.views > 1 else ""
    geometry = f", {manifest.geometry}" if manifest.geometry else ", imported"
    return (
        f"({views}{regions} of {manifest.width} {manifest.dtype}) by {manifest.backbone!r} "
        f"({manifest.backbone_hash}{geometry})"
    )


def _skipped(folder: Path, entries: Sequence[dict[str, Any]]) -> Finding:
    ids = shown([entry["image_id"] for entry in entries])
    told = f"{len(entries)} images were skipped ({ids}), the first as {entries[0]['reason']}"
    remedy = "then extract into another --output, or take them out of the annotations"
    return warn(folder, told, remedy)


def _damage(folder: Path, parts: Sequence[Part], manifest: Manifest) -> dict[str, str]:
    """What is wrong with shards, as far as their sizes and footers tell, by name."""
    found = {}
    for part in parts:
        file = shard_file(folder, *part)
        if not file.is_file():
            found[_name(part)] = "missing"
        elif not file.with_suffix(".sha256").is_file():
            found[_name(part)] = "without its checksum"
        elif not _has_its_size(file, len(manifest.rows(part.shard)), manifest):
            found[_name(part)] = "cut off"
    return found


def _has_its_size(file: Path, images: int, manifest: Manifest) -> bool:
    """Whether a shard is as long as its own footer asks for."""
    try:
        footer = read_footer(file)
    except (InputError, OverflowError):  # a length that no file has
        return False
    with file.open("rb") as stream:
        stream.seek(-FOOTER_LENGTH, 2)
        footer_size = int.from_bytes(stream.read(), "little") + FOOTER_LENGTH
    arrays = sum(footer.counts) * manifest.layout.region_bytes
    return len(footer.counts) == images and file.stat().st_size == arrays + footer_size


def _changed(folder: Path, parts: Sequence[Part]) -> dict[str, str]:
    """The shards whose bytes are not those that were written; reads all of them."""
    from tqdm import tqdm

    bar = tqdm(parts, desc="checksums", unit="shard", file=sys.stderr)
    changed = [part for part in bar if not matches_checksum(shard_file(folder, *part))]
    return {_name(part): "changed" for part in changed}


def _shards(folder: Path, damage: dict[str, str], manifest: Manifest, *, full: bool) -> Finding:
    total = manifest.shards * manifest.views
    if not damage:
        held = "their checksums" if full else "their sizes (--full reads all bytes)"
        return ok(folder, f"all {total} shards have {held}")
    told = shown([f"{name} is {reason}" for name, reason in damage.items()])
    return fail(
        folder,
        f"of {total} shards {len(damage)} cannot be used: {told}",
        REIMPORT if _verb(manifest) == "import" else _new_shards(set(damage.values())),
    )


def _new_shards(reasons: set[str]) -> str:
    """How shards are made anew; an extraction does so with those that are not there."""
    again = "run the same vlm extract again, which makes them anew"
    spoilt = [reason for reason in SPOILT if reason in reasons]
    if not spoilt:
        return again
    which = "those files" if not reasons & {*GONE} else f"those that are {' or '.join(spoilt)}"
    return f"remove {which} and {again}"


def _name(part: Part) -> str:
    return shard_file(Path(), *part).as_posix()
