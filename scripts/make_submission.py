"""The files that the servers of COCO captions, VQA v2 and nocaps take, made and checked.

Results come in any form that ``vlm evaluate`` reads. Nothing is written unless every expected
id is there exactly once.

    python scripts/make_submission.py captions results_val.json results_test.json \
        --ids image_info_val.json image_info_test.json --algorithm NAME --output DIR
    python scripts/make_submission.py answers answers.json --questions questions.json \
        --algorithm NAME --output DIR
    python scripts/make_submission.py nocaps results.json --ids image_info.json \
        --split test --algorithm NAME --output DIR
    python scripts/make_submission.py check FILE --ids image_info.json
    python scripts/make_submission.py check FILE --questions questions.json
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from vlm.cli.arguments import Arguments
from vlm.errors import InputError
from vlm.formats.questions import read_split
from vlm.formats.submission import (
    COCO,
    NOCAPS,
    VQA,
    find_faults,
    read_expected,
    read_records,
    write_submission,
)


def make(given: argparse.Namespace) -> list[Path]:
    """Writes what one of the first three commands asks for; the files written."""
    if given.command == "captions":
        task, splits = COCO, COCO.splits
    elif given.command == "nocaps":
        task, splits = NOCAPS, (given.split,)
    else:
        task, splits = VQA, (given.split or _split_of(given.ids[0]),)
    records = {
        split: read_records(results, task.kind, read_expected(ids, task.kind))
        for split, results, ids in zip(splits, given.results, given.ids, strict=True)
    }
    return write_submission(given.output, task, records, algorithm=given.algorithm)


def _split_of(questions: Path) -> str:
    split = read_split(questions)
    if split not in VQA.splits:
        raise InputError(
            f"{questions}: expected questions of {' or '.join(VQA.splits)}, "
            f"got {split or 'no data_subtype'}; give others, or name their --split"
        )
    return split


def check(given: argparse.Namespace) -> list[str]:
    """What is wrong with a file to hand in."""
    if given.questions:
        task, ids = VQA, given.questions
    else:
        task, ids = NOCAPS if given.file.name.startswith("nocaps") else COCO, given.ids
    return find_faults(given.file, task, read_expected(ids, task.kind))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the files written; 2, and a sentence each on what is wrong, else."""
    try:
        given = _parser().parse_args(arguments)
        if given.command != "check":
            print(*make(given), sep="\n")
            return 0
        faults = check(given)
        if not faults:
            print(f"{given.file} can be handed in")
    except InputError as error:
        faults = [str(error)]
    for fault in faults:
        print(f"make_submission: error: {fault}", file=sys.stderr)
    return 2 if faults else 0


def _parser() -> Arguments:
    parser = Arguments(description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    captions = commands.add_parser("captions", help="COCO captions of val2014 and test2014")
    _add_files(captions, 2)
    _add_ids(captions, 2)
    nocaps = commands.add_parser("nocaps", help="captions of one split of nocaps")
    _add_files(nocaps, 1)
    _add_ids(nocaps, 1)
    nocaps.add_argument("--split", required=True, choices=NOCAPS.splits)
    answers = commands.add_parser("answers", help="VQA v2 answers of one split")
    _add_files(answers, 1)
    answers.add_argument(
        "--questions", dest="ids", nargs=1, type=Path, required=True, help="VQA questions JSON"
    )
    answers.add_argument("--split", choices=VQA.splits, help="where the questions do not tell")
    checked = commands.add_parser("check", help="says what is wrong with a file to hand in")
    checked.add_argument("file", type=Path)
    expected = checked.add_mutually_exclusive_group(required=True)
    expected.add_argument("--ids", type=Path, help="COCO captions or image info JSON")
    expected.add_argument("--questions", type=Path, help="VQA questions JSON")
    return parser


def _add_files(parser: argparse.ArgumentParser, count: int) -> None:
    parser.add_argument("results", nargs=count, type=Path, help="what a model wrote")
    parser.add_argument("--algorithm", required=True, help="name of what wrote it")
    parser.add_argument("--output", required=True, type=Path, help="folder to write to")


def _add_ids(parser: argparse.ArgumentParser, count: int) -> None:
    parser.add_argument(
        "--ids", nargs=count, type=Path, required=True, help="COCO captions or image info JSON"
    )


if __name__ == "__main__":
    sys.exit(main())
