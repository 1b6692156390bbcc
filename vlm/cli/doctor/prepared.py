"""A folder that ``vlm prepare`` wrote: whether it is whole, unchanged, and its splits apart."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm.cli.doctor.finding import Finding, fail, ok, refused, warn
from vlm.data.images import check_images
from vlm.data.sets.build import RECORD
from vlm.data.sets.guard import refuse_shared
from vlm.data.sets.places import ARCHIVES
from vlm.errors import InputError
from vlm.files import file_hash, read_json
from vlm.formats.captions import CaptionSample, read_captions
from vlm.formats.ids import shown

AGAIN = "run the same vlm prepare again"
# Where a run that is at work, or was stopped, keeps what is not whole yet.
BEGUN = (ARCHIVES, "annotations/*.partial", "images/.*.partial", "images/*/*.partial")


def is_prepared(folder: Path) -> bool:
    """Whether a folder is one, finished or not."""
    return (folder / RECORD).is_file() or _is_begun(folder)


def _is_begun(folder: Path) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in BEGUN)


def examine_prepared(folder: Path, *, full: bool) -> Iterator[Finding]:
    """The files against the record of what was written, and the splits against each other.

    Args:
        folder: of the data set.
        full: whether photos are opened, not just looked for.

    Raises:
        InputError: if record or splits cannot be read.
    """
    if not (folder / RECORD).is_file():
        told = "a data set that is unfinished, vlm prepare has begun it"
        yield fail(folder, told, f"{AGAIN}, which goes on, unless one is at work")
        return
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or "origins" not in record or "files" not in record:
        yield fail(folder, "vlm prepare was stopped before it was done", AGAIN)
        return
    files: Mapping[str, Any] = record["files"]
    held = "; ".join(f"{name} {_counts(row['holds'])}" for name, row in files.items())
    yield ok(folder, f"{record['set']}: {held}")
    gone = [name for name in files if not (folder / name).is_file()]
    changed = [
        name
        for name, row in files.items()
        if name not in gone and file_hash(folder / name) != row["hash"]
    ]
    if gone:
        yield fail(folder, f"{shown(gone)} is gone", AGAIN)
    if changed:
        yield fail(
            folder,
            f"{shown(changed)} has changed since vlm prepare wrote it",
            f"move it away and {AGAIN}",
        )
    captioned = [n for n, row in files.items() if "captions" in row["holds"] and n not in gone]
    images = folder / "images"
    splits = {Path(name).stem: read_captions(folder / name, images) for name in captioned}
    yield from apart(folder, splits)
    yield _photos(folder, splits, full=full, expected=record["photos"])


def apart(subject: object, splits: Mapping[str, Sequence[CaptionSample]]) -> Iterator[Finding]:
    """Whether the images that are scored were kept from training.

    Args:
        subject: that has the splits.
        splits: images by the name of the split.
    """
    others = [split for split in splits if split != "train"]
    if "train" not in splits or not others:
        return
    shares = False
    for split in others:
        try:
            refuse_shared(splits["train"], splits[split], split=split)
        except InputError as error:
            shares = True
            yield refused(subject, error)
    if not shares:
        yield ok(subject, f"train shares no image with {', '.join(others)}")


def _photos(
    folder: Path, splits: Mapping[str, Sequence[CaptionSample]], *, full: bool, expected: bool
) -> Finding:
    if not expected:
        if _is_begun(folder):
            return warn(folder, "its photos are unfinished", AGAIN)
        remedy = "run vlm prepare without --only where training shall look at photos"
        return warn(folder, "its photos were not asked for", remedy)
    paths = [sample.path for samples in splits.values() for sample in samples]
    gone = [path.name for path in paths if not path.is_file()]
    if gone:
        return fail(
            folder, f"{len(gone):,} of {len(paths):,} photos are gone ({shown(gone)})", AGAIN
        )
    if full:
        check_images(paths, origin=str(folder))
    return ok(folder, f"all {len(paths):,} photos are there{' and can be read' if full else ''}")


def _counts(holds: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {what}" for what, number in holds.items())
