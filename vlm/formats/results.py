"""What models wrote: result files of COCO and VQA, of lmms-eval and of VLMEvalKit.

Five forms are told apart by what they hold, each as JSON, JSON lines (``.jsonl``) or a table
(``.tsv``, ``.csv``, ``.xlsx``), the text ones also gzipped:

* COCO results: ``{"image_id": 1, "caption": "..."}``; VQA results: ``{"question_id": 1,
  "answer": "..."}``; further keys are not read.
* per-sample files of lmms-eval: the text is the first of ``filtered_resps``, else of ``resps``;
  the id is that of the sample's metrics, else of its document.
* prediction files of VLMEvalKit: the text is ``prediction``; the id is ``image_id`` or
  ``question_id``, else the number in the image's file name, else ``index``.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_text
from vlm.formats.ids import Id, refuse_doubles, shown
from vlm.formats.workbook import read_workbook

Row = Mapping[str, Any]

NAMES_OF_FILES = ("file_name", "filename", "image_path", "image_name", "image", "question_id")


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
        file: of one of the five forms.
        kind: :data:`CAPTIONS` or :data:`ANSWERS`.

    Raises:
        InputError: if the file is missing, empty, cut off or of no such form, or holds doubled
            ids or a text that is none.
    """
    rows = list(_rows(file))
    if not rows:
        raise InputError(f"{file} holds no result; give a file with results")
    pairs = [_pair(file, number, row, kind) for number, row in enumerate(rows, start=1)]
    wrong = [key for key, text in pairs if not isinstance(text, str)]
    if wrong:
        raise InputError(
            f"{file}: the {kind.text} of {kind.key} {shown(wrong)} is not text; write one each"
        )
    refuse_doubles(file, kind.key.removesuffix("_id"), (key for key, _ in pairs))
    return dict(pairs)


def _rows(file: Path) -> Iterator[Any]:
    """The records of a file, whatever its form."""
    name = file.name.removesuffix(".gz")
    if name.endswith(".xlsx"):
        yield from read_workbook(file)
    elif name.endswith((".tsv", ".csv")):
        csv.field_size_limit(2**31 - 1)  # these tables hold whole images in a field
        dialect = "excel-tab" if name.endswith(".tsv") else "excel"
        yield from csv.DictReader(io.StringIO(read_text(file), newline=""), dialect=dialect)
    elif name.endswith(".jsonl"):
        yield from _lines(file)
    else:
        tree = read_json(file)
        if isinstance(tree, Mapping) and isinstance(tree.get("logs"), list):
            tree = tree["logs"]  # older lmms-eval: all samples in one object
        if not isinstance(tree, list):
            raise InputError(
                f"{file} is not a result file; expected a list of results, got "
                f"{'an annotation file' if _is_annotation(tree) else 'something else'}"
            )
        yield from tree


def _is_annotation(tree: Any) -> bool:
    return isinstance(tree, Mapping) and bool({"annotations", "questions", "images"} & set(tree))


def _lines(file: Path) -> Iterator[Any]:
    # Not splitlines(), which would also split at the line separators that a JSON text may hold.
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(
                    f"{file}, line {number} is not whole JSON ({error.msg}); "
                    "it may have been cut off, write it again"
                ) from error


def _pair(file: Path, number: int, row: Any, kind: Kind) -> tuple[Id, Any]:
    """Id and text of one record."""
    if isinstance(row, Mapping):
        key, text = _read_record(row, kind)
        if isinstance(key, str | int) and not isinstance(key, bool) and text is not _ABSENT:
            return key, text
    raise InputError(
        f'{file}, record {number}: expected {{"{kind.key}": 1, "{kind.text}": "..."}}, '
        f"got {json.dumps(row, ensure_ascii=False, default=str)[:80]}; correct it"
    )


_ABSENT = object()


def _read_record(row: Row, kind: Kind) -> tuple[Any, Any]:
    if kind.key in row and kind.text in row and "prediction" not in row:
        return row[kind.key], row[kind.text]
    if "filtered_resps" in row or "resps" in row:
        return _id_of_sample(row, kind), _response(row.get("filtered_resps") or row.get("resps"))
    if "prediction" in row:
        return _id_of_document(row, kind, row.get("index")), row["prediction"]
    return None, _ABSENT


def _id_of_sample(row: Row, kind: Kind) -> Any:
    """lmms-eval names the id in the records that its metrics keep of a sample."""
    for part in row.values():
        if isinstance(part, Mapping) and kind.key in part and part is not row.get("doc"):
            return part[kind.key]
    document = row.get("doc")
    return _id_of_document(document if isinstance(document, Mapping) else {}, kind, None)


def _id_of_document(document: Row, kind: Kind, otherwise: Any) -> Any:
    if kind.key in document:
        return document[kind.key]
    if kind is CAPTIONS:
        for name in NAMES_OF_FILES:
            number = re.search(r"(\d+)$", PurePath(str(document.get(name, ""))).stem)
            if number and len(str(document[name])) < 300:  # not a whole image as text
                return int(number[1])
    return otherwise


def _response(responses: Any) -> Any:
    """The first text of nested lists."""
    while isinstance(responses, list) and responses:
        responses = responses[0]
    return "" if responses == [] or responses is None else responses
