"""Submission files of the servers of COCO captions, VQA v2 and nocaps: checked, written whole.

COCO takes the captions of two splits zipped together (Chen et al., 2015,
https://arxiv.org/abs/1504.00325), VQA one file of answers (Goyal et al., 2017,
https://arxiv.org/abs/1612.00837); nocaps (Agrawal et al., 2019,
https://arxiv.org/abs/1812.08658) takes the records of COCO and has no rule for names.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, write_json, writing
from vlm.formats.captions import read_captions
from vlm.formats.fields import is_text
from vlm.formats.ids import Id, as_listed, shown
from vlm.formats.questions import read_questions
from vlm.formats.results import ANSWERS, CAPTIONS, Kind, read_results

Record = dict[str, int | str]

ALGORITHM = r"[A-Za-z0-9._-]+"
CUTS = "[\r\v\f\x85\u2028\u2029]"  # where the official tokenizer ends a caption


class Task(NamedTuple):
    """What a server takes.

    Attributes:
        kind: captions or answers.
        name: of its files, with places for the split and the algorithm.
        splits: that it scores.
    """

    kind: Kind
    name: str
    splits: tuple[str, ...]


COCO = Task(CAPTIONS, "captions_{split}_{algorithm}_results.json", ("val2014", "test2014"))
NOCAPS = Task(CAPTIONS, "nocaps_{split}_{algorithm}_results.json", ("val", "test"))
VQA = Task(
    ANSWERS,
    "vqa_OpenEnded_mscoco_{split}_{algorithm}_results.json",
    ("test-dev2015", "test2015"),
)


def file_name(task: Task, split: str, *, algorithm: str) -> str:
    """The name that a server expects.

    Raises:
        InputError: if it has no such split, or the algorithm's name does not fit in.
    """
    if split not in task.splits:
        raise InputError(f"expected split {' or '.join(task.splits)}, got {split!r}; choose one")
    if not re.fullmatch(ALGORITHM, algorithm):
        raise InputError(
            f"expected an algorithm's name of letters, digits, '.', '_' and '-', "
            f"got {algorithm!r}; rename it"
        )
    return task.name.format(split=split, algorithm=algorithm)


def read_expected(file: Path, kind: Kind) -> list[int]:
    """The ids that have to come, in the file's order.

    Args:
        file: COCO captions or image info JSON for captions, VQA questions JSON for answers.
        kind: captions or answers.

    Raises:
        InputError: if the file cannot be used, or naming the ids that are no whole numbers.
    """
    if kind is CAPTIONS:
        ids: list[Any] = [sample.image_id for sample in read_captions(file, Path())]
    else:
        ids = [question.question_id for question in read_questions(file)]
    wrong = [key for key in ids if not _is_number(key)]
    if wrong:
        raise InputError(
            f"{file}: {kind.key} {shown(wrong)} are no whole numbers, which servers expect; "
            "give the official file"
        )
    return ids


def read_records(results: Path, kind: Kind, expected: Sequence[int]) -> list[Record]:
    """The records to hand in, in the order of the ids.

    Line breaks in captions become spaces: at any but a line feed, the official tokenizer
    would end the caption and give the rest to the next image.

    Args:
        results: file of what was written, in any form of :func:`vlm.formats.results.read_results`.
        kind: captions or answers.
        expected: the ids that have to come.

    Raises:
        InputError: if the file cannot be used, or naming the ids that are missing or too many.
    """
    written: dict[Id, str] = as_listed(read_results(results, kind), expected)
    faults = [*_of_ids(results, kind, list(written), expected)]
    if faults:
        raise InputError(faults[0])
    if kind is CAPTIONS:
        written = {key: re.sub(f"{CUTS}|\n", " ", text) for key, text in written.items()}
    return [{kind.key: key, kind.text: written[key]} for key in expected]


def write_submission(
    folder: Path, task: Task, records: Mapping[str, Sequence[Record]], *, algorithm: str
) -> list[Path]:
    """Writes the files to hand in; for COCO also ``results.zip``, which holds them.

    Args:
        folder: it is made.
        task: what the server takes.
        records: by split.
        algorithm: name of what wrote them.

    Returns:
        The files written, the one to upload last.

    Raises:
        InputError: if a name does not fit, or the folder cannot be written to.
    """
    named = {
        folder / file_name(task, split, algorithm=algorithm): rows
        for split, rows in records.items()
    }
    try:
        for file, rows in named.items():
            write_json(file, rows)
        return [*named, _zipped(folder / "results.zip", [*named])] if task is COCO else [*named]
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}); choose another folder"
        ) from error


def _zipped(target: Path, files: Sequence[Path]) -> Path:
    """One archive of the files, side by side; the same bytes for the same content."""
    with writing(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name)  # of no special time
            entry.external_attr = 0o644 << 16  # readable where it is unpacked
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
    return target


def find_faults(file: Path, task: Task, expected: Collection[int]) -> list[str]:
    """What a server would refuse or score wrongly: a sentence each, none if the file is good.

    Args:
        file: to hand in.
        task: what the server takes.
        expected: the ids that have to come.

    Raises:
        InputError: if the file is missing, empty or cut off.
    """
    rows, faults = read_json(file), []
    splits = "|".join(task.splits)
    if not re.fullmatch(task.name.format(split=f"({splits})", algorithm=ALGORITHM), file.name):
        names = [task.name.format(split=split, algorithm="NAME") for split in task.splits]
        faults.append(f"{file}: expected the name {' or '.join(names)}; rename it")
    if not isinstance(rows, list):
        return [*faults, f"{file}: expected a list of records, got something else; write a list"]
    whole = [row for row in rows if _is_whole(row, task.kind)]
    ids = [row[task.kind.key] for row in whole if _is_number(row[task.kind.key])]
    faults += _of_records(file, task.kind, rows)
    faults += _of_texts(file, task.kind, whole)
    return [*faults, *_of_ids(file, task.kind, ids, expected)]


def _of_records(file: Path, kind: Kind, rows: Sequence[Any]) -> Iterator[str]:
    shapeless = [n for n, row in enumerate(rows, start=1) if not _is_whole(row, kind)]
    if shapeless:
        yield (
            f"{file}: records {shown(shapeless)} do not have the fields {kind.key} and "
            f"{kind.text} alone; write both and no others"
        )
    nameless = [
        n
        for n, row in enumerate(rows, start=1)
        if _is_whole(row, kind) and not _is_number(row[kind.key])
    ]
    if nameless:
        yield (
            f"{file}: the {kind.key} of records {shown(nameless)} is no whole number; "
            "write it without quotes and point"
        )


def _of_texts(file: Path, kind: Kind, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    wrong = [row[kind.key] for row in rows if not is_text(row[kind.text])]
    if wrong:
        yield f"{file}: the {kind.text} of {kind.key} {shown(wrong)} is not text; write one each"
    broken = [
        row[kind.key] for row in rows if is_text(row[kind.text]) and re.search(CUTS, row[kind.text])
    ]
    if kind is CAPTIONS and broken:
        yield (
            f"{file}: the caption of {kind.key} {shown(broken)} has a line break at which the "
            "official tokenizer cuts it and shifts all that follow; write a space"
        )


def _of_ids(file: Path, kind: Kind, ids: Sequence[Id], expected: Collection[int]) -> Iterator[str]:
    counts, wanted = Counter(ids), set(expected)
    doubled = [key for key, count in counts.items() if count > 1]
    if doubled:
        yield f"{file} has {kind.key} {shown(doubled)} more than once; keep one each"
    missing = [key for key in expected if key not in counts]
    if missing:
        yield f"{file} lacks {kind.key} {shown(missing)}; add them"
    foreign = [key for key in counts if key not in wanted]
    if foreign:
        yield f"{file} has {kind.key} {shown(foreign)}, which are not expected; remove them"


def _is_whole(row: Any, kind: Kind) -> bool:
    return isinstance(row, Mapping) and set(row) == set(kind)


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
