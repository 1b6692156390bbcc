"""``vlm prepare``: a public data set from its official places to files that training reads."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.cli.arguments import Arguments
from vlm.disk import existing, free_bytes, in_words
from vlm.errors import InputError

if TYPE_CHECKING:  # what follows loads torch, which --help can do without
    from vlm.data.sets.entries import DataSet
    from vlm.data.sets.places import Step

NAMES = ("coco", "vqav2", "flickr8k", "flickr30k", "nocaps")
PARTS = ("captions", "images")


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints the plan, carries it out, and tells what is there."""
    options = _parser(verb).parse_args(arguments)
    output = _output(options)

    from vlm.data.sets.build import build
    from vlm.data.sets.fetch import require_room
    from vlm.data.sets.places import bytes_needed, carry_out, require_all
    from vlm.data.sets.sources import SETS

    entry = SETS[options.set]
    given = _given_splits(entry, options)
    folders, mirrors = _places(options)
    steps = _plan(entry, options.only, output, given, folders, mirrors)
    print(f"{entry.title}, to {output}")
    print(_told(steps, output, folders))
    require_all(steps)
    require_room(output, bytes_needed(steps))
    if options.dry_run:
        print("dry run: nothing was fetched or written")
        return
    for step in steps:
        carry_out(step, output, _bar)
    wrote = False
    if options.only != "images":
        files, wrote = build(entry, output, given=given, photos=options.only is None)
        print(_summary(files, output))
    if options.only != "captions":
        print(f"images in {output / 'images'}")
    if not wrote and all(step.there for step in steps):
        print("all of it was there: nothing was fetched or written")
    print(f"next: {entry.next_command.format(output=output, name=options.set)}")


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}")
    parser.add_argument("set", choices=NAMES)
    parser.add_argument("--output", metavar="FOLDER", help="of the data set; default data/SET")
    parser.add_argument(
        "--from",
        dest="places",
        metavar="PLACE",
        action="append",
        default=[],
        help="folder with archives or what was unpacked of them, which is used where it lies; or "
        "address of a mirror, asked in place of the official ones; may be given several times",
    )
    parser.add_argument("--only", choices=PARTS, help="this part alone; default all")
    parser.add_argument(
        "--splits",
        metavar="FILE",
        nargs="+",
        default=[],
        help="your own copy of Karpathy's JSON, or lists of ids with train, val and test in names",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    return parser


def _output(options: argparse.Namespace) -> Path:
    """The folder of the data set."""
    output = Path(options.output or Path("data") / options.set)
    holder = existing(output)
    if not holder.is_dir():
        raise InputError(
            f"--output {output} can be no folder, as {holder} is a file; give another --output"
        )
    return output


def _given_splits(entry: "DataSet", options: argparse.Namespace) -> list[Path]:
    """The user's own files of splits."""
    files = [Path(name) for name in options.splits]
    if files and entry.splits is None:
        raise InputError(f"{options.set} has official splits; leave --splits out")
    if files and options.only == "images":
        raise InputError("--only images writes no splits; leave --splits or --only out")
    absent = [str(file) for file in files if not file.is_file()]
    if absent:
        raise InputError(f"file {absent[0]} does not exist; correct --splits")

    from vlm.data.sets.build import check_given

    check_given(entry, files)
    return files


def _places(options: argparse.Namespace) -> tuple[list[Path], list[str]]:
    """The folders and the mirrors that are to be looked in."""
    mirrors = [place for place in options.places if place.startswith(("http://", "https://"))]
    folders = [Path(place) for place in options.places if place not in mirrors]
    gone = [str(folder) for folder in folders if not folder.is_dir()]
    if gone:
        raise InputError(
            f"--from {gone[0]} is no folder and no http address; name one that is there"
        )
    return folders, mirrors


def _plan(
    entry: "DataSet",
    part: str | None,
    output: Path,
    given: Sequence[Path],
    folders: Sequence[Path],
    mirrors: Sequence[str],
) -> "list[Step]":
    """How each source that is asked for comes into place."""
    from vlm.data.sets.build import needed
    from vlm.data.sets.places import plan

    return plan(needed(entry, given, part), output, folders=folders, mirrors=mirrors)


def _told(steps: "Sequence[Step]", output: Path, folders: Sequence[Path]) -> str:
    """The plan as lines for people."""
    width = max(len(step.source.name) for step in steps)
    rows = [
        f"  {step.source.name:<{width}}  {_size(step.source.size):>9}  {_action(step)}"
        for step in steps
    ]
    absent = [step for step in steps if not step.there]
    if absent:
        rows += [
            f"nothing of this set found in {folder}: expected e.g. {_example(absent)}"
            for folder in folders
            if not any(step.uses(folder) for step in steps)
        ]
        room = _room(steps)
        rows += [f"to fetch {_amount(steps)}; room needed {room}, free {_size(free_bytes(output))}"]
    return "\n".join(rows)


def _amount(steps: "Sequence[Step]") -> str:
    """What comes over the network; sizes that nobody publishes are named as such."""
    known = sum(step.to_fetch for step in steps)
    photos = sum(step.photos_to_fetch for step in steps)
    files = sum(step.is_of_unknown_size and not step.source.listed for step in steps)
    counts = [(photos, "photo"), (files, "file")]
    unknown = [f"{number:,} {what}{'s' * (number > 1)}" for number, what in counts if number]
    parts = [_size(known)] if known else []
    parts += [f"{' and '.join(unknown)} of unknown size"] if unknown else []
    return ", and ".join(parts) or "nothing"


def _room(steps: "Sequence[Step]") -> str:
    from vlm.data.sets.places import bytes_needed

    needed = bytes_needed(steps)
    if any(step.is_of_unknown_size or step.waits for step in steps):
        return f"at least {_size(needed)}" if needed else "unknown"
    return f"about {_size(needed)}"


def _example(absent: "Sequence[Step]") -> str:
    """What a folder may hold of a set: an archive, or what was unpacked of it."""
    source = next((step.source for step in absent if step.source.is_photos), absent[0].source)
    path, photos = next(iter(source.holds.items()))
    unpacked = f"{path}/ with {photos:,} photos" if photos else path
    return unpacked if source.listed or source.name == path else f"{source.name} or {unpacked}"


def _action(step: "Step") -> str:
    if step.there:
        return "there"
    if step.waits:
        return f"to be asked for at {step.source.form}"
    if step.links:
        return f"link to {', '.join(str(path) for path in step.links.values())}"
    if step.archive is not None:
        return f"unpack {step.archive}"
    if step.source.listed:
        photos = sum(step.source.holds.values())
        return f"fetch {photos - step.begun:,} of {photos:,} photos from {step.urls[0]}"
    return f"{f'go on at {_size(step.begun)} with' if step.begun else 'fetch'} {step.urls[0]}"


def _size(number: int | None) -> str:
    return "?" if number is None else in_words(number)


def _summary(files: Mapping[str, Mapping[str, int]], output: Path) -> str:
    width = max(len(str(output / name)) for name in files)
    return "\n".join(
        f"{output / name!s:<{width}}  " + ", ".join(f"{n:,} {what}" for what, n in held.items())
        for name, held in files.items()
    )


@contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on the error stream."""
    from tqdm import tqdm

    scaled = unit == "B"
    with tqdm(desc=title, unit=unit, unit_scale=scaled, unit_divisor=1000, file=sys.stderr) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
