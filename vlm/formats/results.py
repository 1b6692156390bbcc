"""What models wrote: result files of COCO and VQA, of lmms-eval and of VLMEvalKit.

Four forms are told apart by what they hold, each as JSON, JSON lines (``.jsonl``) or a table
(``.tsv``, ``.csv``, ``.xlsx``), the text ones also gzipped. Further keys are not read:

* COCO results: ``{"image_id": 1, "caption": "..."}``.
* VQA results: ``{"question_id": 1, "answer": "..."}``.
* per-sample files of lmms-eval, older ones with the samples in ``logs``: the text is the first
  of ``filtered_resps``, or of ``resps`` where that is missing, empty if there is none; the id is
  that in the records of the sample's metrics, else of its document ``doc``.
* prediction files of VLMEvalKit: the text is ``prediction``; the id is that of the row, else
  its ``index``.

A document or row names its id itself, an image also by the number that its file's name ends in.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_lines, read_text
from vlm.formats.fields import is_text
from vlm.formats.ids import Id, as_id, refuse_doubles, shown
from vlm.formats.kinds import kind_of
from vlm.formats.workbook import read_workbook

Row = Mapping[str, Any]

# lmms-eval keeps the file name of a COCO image as its question_id.
NAMES_OF_FILES = ("file_name", "filename", "image_path", "image_name", "image", "question_id")
LONGEST_NAME = 300  # more is an image as text, which tables have too


class Kind(NamedTuple):
    """What a result file is read for.

    Attributes:
        key: name of the id.
        text: name of what was written.
    """

    key: str
    text: str


CAPTIONS = Kind("image_id", "caption")
ANSWERS = Kind("question_id", "answer")


def read_results(file: Path, kind: Kind) -> dict[Id, str]:
    """What was written, by image or question, in the file's order.

    Args:
        file: of one of the four forms; tables give their ids as text.
        kind: :data:`CAPTIONS` or :data:`ANSWERS`.

    Raises:
        InputError: if the file is missing, empty, cut off or of no such form, or holds a record
            without an id, doubled ids or a text that is none.
    """
    pairs = [_pair(file, number, row, kind) for number, row in enumerate(_rows(file), start=1)]
    if not pairs:
        raise InputError(f"{file} holds no result; give a file with results")
    wrong = [key for key, text in pairs if not is_text(text)]
    if wrong:
        raise InputError(
            f"{file}: the {kind.text} of {kind.key} {shown(wrong)} is not text; write one each"
        )
    refuse_doubles(file, kind.key.removesuffix("_id"), (key for key, _ in pairs))
    return dict(pairs)


# --- Files to records ------------------------------------------------------------------------


def _rows(file: Path) -> Iterator[Any]:
    """The records of a file, whatever their form."""
    name = file.name.removesuffix(".gz")
    if name.endswith(".xlsx"):
        return read_workbook(file)
    if name.endswith((".tsv", ".csv")):
        return _table(file, "excel-tab" if name.endswith(".tsv") else "excel")
    if name.endswith(".jsonl"):
        return (row for _, row in read_lines(file, by_name=True))
    return _list(file)


def _table(file: Path, dialect: str) -> Iterator[Row]:
    csv.field_size_limit(2**31 - 1)  # a field may hold a whole image
    text = read_text(file)
    if text.lstrip().startswith(("{", "[")):
        raise InputError(f"{file} holds JSON, not a table; name it .json, or .jsonl if it is lines")
    reader = csv.DictReader(io.StringIO(text, newline=""), dialect=dialect, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{file}, line {reader.line_num}: expected {len(reader.fieldnames or ())} "
                    "fields as in the first line, got another number; mend the line"
                )
            if any(row.values()):
                yield row
    except csv.Error as error:
        raise InputError(
            f"{file}, line {reader.reader.line_num} is not a whole table (a quoted field does not "
            "end, or goes on behind its quote); it may have been cut off, write it again"
        ) from error


def _list(file: Path) -> Iterator[Any]:
    tree = read_json(file, by_name=True)
    if isinstance(tree, Mapping) and isinstance(tree.get("logs"), list):
        tree = tree["logs"]
    if isinstance(tree, list):
        return iter(tree)
    raise InputError(
        f"{file} is not a result file: expected a list of results, "
        f"got {kind_of(tree) or _fields(tree)}; give what a model wrote"
    )


def _fields(tree: Mapping[str, Any]) -> str:
    return f"an object with the fields {shown([*tree])}" if tree else "an empty object"


# --- Records to ids and texts ----------------------------------------------------------------


def _pair(file: Path, number: int, row: Any, kind: Kind) -> tuple[Id, Any]:
    """Id and text of one record."""
    if not isinstance(row, Mapping):
        row = {"": row}
    if kind.key in row and kind.text in row and "prediction" not in row:
        key, text = row[kind.key], row[kind.text]
    elif "filtered_resps" in row or "resps" in row:
        key, text = _id_of_sample(row, kind), _response(row)
    elif "prediction" in row:
        key, text = _id_of_document(row, kind, row.get("index")), row["prediction"]
    else:
        raise InputError(
            f'{file}, record {number}: expected {{"{kind.key}": 1, "{kind.text}": "..."}}, '
            f"got {_brief(row.get('', row))}; correct it"
        )
    known = as_id(key)
    if known is None:
        raise InputError(
            f"{file}, record {number}: expected as {kind.key} a whole number or a text, "
            f"got {_brief(key)}; write one"
        )
    return known, text


def _brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


def _id_of_sample(row: Row, kind: Kind) -> Any:
    """The id in the records that metrics keep of a sample, else in its document."""
    document = row.get("doc")
    for part in row.values():
        if isinstance(part, Mapping) and kind.key in part and part is not document:
            return part[kind.key]
    return _id_of_document(document if isinstance(document, Mapping) else {}, kind, None)


def _id_of_document(document: Row, kind: Kind, otherwise: Any) -> Any:
    if kind.key in document:
        return document[kind.key]
    if kind is CAPTIONS:
        for name in NAMES_OF_FILES:
            written = str(document.get(name, ""))
            number = re.search(r"[0-9]+$", PurePath(written[:LONGEST_NAME]).stem)
            if number and len(written) < LONGEST_NAME:
                return int(number[0])
    return otherwise


def _response(row: Row) -> Any:
    """The first text of nested lists; a model that wrote nothing wrote the empty text."""
    responses = row["filtered_resps"] if "filtered_resps" in row else row["resps"]
    while isinstance(responses, list):
        responses = responses[0] if responses else ""
    return responses
