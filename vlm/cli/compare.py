"""``vlm compare``: two systems, of one run or several, on the same images."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm.cli.arguments import Arguments, score_names
from vlm.cli.report import check_targets
from vlm.cli.selection import result_file
from vlm.errors import InputError
from vlm.files import write_json
from vlm.formats.captions import read_captions
from vlm.formats.ids import Id, as_listed
from vlm.formats.results import CAPTIONS, read_results
from vlm.metrics.compare import FAMILIES, STANDARD, Change, Comparison, compare_captions
from vlm.metrics.resampling import Difference

USAGE = """vlm compare A B --references FILE [options]
       vlm compare A [A ...] -- B [B ...] --references FILE [options]

A and B are result files, or folders of runs that hold a results.json; several of a system are its
seeds. What is told is the difference of system b, after the --, from system a."""


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints the comparison and writes it where asked."""
    options, a, b = _parse(verb, arguments)
    scores = score_names(options.metrics, FAMILIES)
    runs = [str(result_file(Path(path))) for path in (*a, *b)]
    check_targets({"--output": options.output}, [options.references, *runs])
    references: dict[Id, tuple[str, ...]] = {
        sample.image_id: sample.captions
        for sample in read_captions(Path(options.references), Path())
    }
    comparison = compare_captions(
        _read("a", a, references),
        _read("b", b, references),
        references,
        metrics=scores,
        samples=options.samples,
        seed=options.seed,
    )
    record = _record(comparison, a, b)
    if options.output is not None:
        write_json(Path(options.output), record)
    print(json.dumps(record, indent=1) if options.json else _text(comparison, a, b))


def _parse(
    verb: str, arguments: Sequence[str]
) -> tuple[argparse.Namespace, Sequence[str], Sequence[str]]:
    """The options, wherever they stand, and the paths of the two systems."""
    # The parser would drop the --, so each side of it is parsed alone, into the same options.
    sides = [[]]
    for argument in arguments:
        if argument == "--":
            sides.append([])
        else:
            sides[-1].append(argument)
    parser, options, paths = _parser(verb), argparse.Namespace(), []
    for side in sides:
        options, rest = parser.parse_known_args(side, options)
        unknown = [argument for argument in rest if argument.startswith("-")]
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        paths.append(rest)
    if len(paths) == 1 and len(paths[0]) == 2:
        paths = [paths[0][:1], paths[0][1:]]
    if len(paths) != 2 or not all(paths):
        found = " -- ".join(" ".join(side) for side in paths).strip() or "no path"
        parser.error(f"expected two systems, as A B or as A ... -- B ..., got {found}")
    if options.references is None:
        parser.error("expected --references FILE with the captions that people gave the images")
    return options, *paths


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}", usage=USAGE)
    parser.add_argument("--references", metavar="FILE", help="COCO captions JSON, or JSON lines")
    parser.add_argument(
        "--metrics",
        metavar="NAMES",
        default=",".join(STANDARD),
        help="of BLEU (or BLEU-1 to BLEU-4), ROUGE-L, CIDEr-D and CIDEr, parted by commas; "
        "default %(default)s",
    )
    parser.add_argument("--samples", type=int, default=1000, help="resamples; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples; default %(default)s")
    parser.add_argument("--output", metavar="FILE", help="JSON of all that is told")
    parser.add_argument("--json", action="store_true", help="print that JSON instead of a table")
    return parser


def _read(
    system: str, paths: Sequence[str], references: Mapping[Id, object]
) -> dict[str, dict[Id, str]]:
    """The captions of each run, by its path."""
    files: dict[Path, str] = {}
    for path in paths:
        file = result_file(Path(path)).resolve()
        if file in files:
            also = "" if path == files[file] else f", also as {files[file]}"
            raise InputError(f"system {system} has {path} twice{also}; give each run once")
        files[file] = path
    return {
        path: as_listed(read_results(result_file(Path(path)), CAPTIONS), references)
        for path in paths
    }


def _record(comparison: Comparison[Id], a: Sequence[str], b: Sequence[str]) -> dict[str, Any]:
    """What programs read: scores in the metrics' own units, at full precision."""
    changed = {"gained": comparison.gained, "lost": comparison.lost}
    return {
        "systems": {"a": list(a), "b": list(b)},
        "metrics": {name: row._asdict() for name, row in comparison.metrics.items()},
        "changed most": {
            name: [
                {"image_id": change.image, "CIDEr-D": {"a": change.a, "b": change.b}}
                | {"captions": {"a": list(change.captions_a), "b": list(change.captions_b)}}
                for change in changes
            ]
            for name, changes in changed.items()
        },
        "images": comparison.images,
        "signature": comparison.signature,
        "resampling": comparison.resampling,
    }


def _text(comparison: Comparison[Id], a: Sequence[str], b: Sequence[str]) -> str:
    """What people read: scores times 100."""
    head = f"{'':<8}{'a':>9}{'b':>9}{'b - a':>9}{'95 % interval':>20}{'p':>9}"
    rows = [_row(name, difference) for name, difference in comparison.metrics.items()]
    lines = [f"system a: {', '.join(a)}", f"system b: {', '.join(b)}", "", head, *rows, ""]
    for title, changes in (("gain", comparison.gained), ("lose", comparison.lost)):
        if changes:
            lines += [f"images that {title} most CIDEr-D from a to b:"]
            lines += [line for change in changes for line in _change(change)]
    if len(a) + len(b) > 2:
        lines += [f"scores are means over {len(a)} and {len(b)} runs; the interval is over both"]
    return "\n".join(
        [
            *lines,
            f"{comparison.images} images",
            f"signature: {comparison.signature}",
            f"resampling: {comparison.resampling}",
        ]
    )


def _row(name: str, row: Difference) -> str:
    low, high = (f"{100 * end:+.2f}" for end in row.interval)
    scores = f"{100 * row.a:>9.2f}{100 * row.b:>9.2f}{100 * row.difference:>+9.2f}"
    return f"{name:<8}{scores}{f'[{low}, {high}]':>20}{row.p_value:>9.2g}"


def _change(change: Change[Id]) -> list[str]:
    return [
        f"  image {change.image}: {100 * change.a:.1f} to {100 * change.b:.1f}",
        *(f"    a: {' '.join(text.split())}" for text in dict.fromkeys(change.captions_a)),
        *(f"    b: {' '.join(text.split())}" for text in dict.fromkeys(change.captions_b)),
    ]
