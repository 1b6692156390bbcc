"""``vlm doctor``: what works here and what would fail later, one line each with the remedy."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.cli.arguments import Arguments
from vlm.errors import InputError

if TYPE_CHECKING:
    import argparse

    from vlm.cli.doctor.finding import Finding

ABOUT = (
    "Tells, one line each, what works and what would fail later; nothing is written. Without "
    "PATH and --config it looks at this machine. A line starts with ok, warn or fail; the exit "
    "status is 2 if one fails."
)


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints what was found, each line as soon as it is known."""
    options = _parser(verb).parse_args(arguments)
    if options.images is not None and not options.paths:
        raise InputError("--images goes with a PATH of captions or objects; give one or leave it")
    count: Counter[str] = Counter()
    for finding in _findings(options):
        print(finding, flush=True)
        count[finding.status] += 1
    if count["fail"]:
        raise InputError(
            f"{count['fail']} of {count.total()} checks failed; do what their lines say, then run "
            f"vlm {verb} again"
        )


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}", description=ABOUT)
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a store, a checkpoint, a file of captions, objects, questions or answers, a folder "
        "that vlm prepare wrote, a folder of images, a config of vlm fit",
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of vlm fit; further ones are laid over the first, as there",
    )
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="that holds the images of each PATH"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="read all bytes: checksums of stores, weights of backbones, photos of prepared sets",
    )
    return parser


def _findings(options: "argparse.Namespace") -> "Iterator[Finding]":
    if not options.paths and not options.config:
        from vlm.cli.doctor.machine import examine_machine

        yield from examine_machine()
        return

    from vlm.cli.doctor.config import examine_config
    from vlm.cli.doctor.files import examine_path
    from vlm.cli.doctor.finding import guarded

    for path in options.paths:
        findings = examine_path(path, images=options.images, full=options.full)
        yield from guarded(str(path), findings)
    if options.config:
        name = " + ".join(map(str, options.config))
        yield from guarded(name, examine_config(options.config, full=options.full))
