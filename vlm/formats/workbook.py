"""The first sheet of an Excel workbook as records: just enough to read other tools' results."""

import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from vlm.errors import InputError
from vlm.files import telling

BOOK, RELATIONS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
SHARED = "xl/sharedStrings.xml"
LIMIT = 2**29  # bytes of XML in one part; a sheet of a million captions is smaller
BROKEN = {  # what the standard library raises, and what that is for people
    zipfile.BadZipFile: "it is no zip archive, or a damaged one",
    zlib.error: "it is a damaged zip archive",
    EOFError: "it is a damaged zip archive",
    ElementTree.ParseError: "a part of it is not whole XML",
    KeyError: "a part of it is missing",
    IndexError: "a cell names a text that is not there",
    ValueError: "a cell holds no number where one belongs",
    RuntimeError: "it is encrypted, or packed in a way that is not known",
}


class _UnreadableError(Exception):
    """A workbook in order that cannot be read, with its reason."""


def read_workbook(file: Path) -> Iterator[dict[str, str]]:
    """Yields a record for each row of the first sheet, the first row naming the fields.

    All values come as text, as they would from a ``.csv`` file: a whole number without a
    point, an empty cell as the empty text. Empty rows are left out.

    Raises:
        InputError: if the file is missing, no workbook, too large, or has a cell with an error
            or with a formula but no value.
    """
    try:
        with telling(file), zipfile.ZipFile(file) as archive:
            rows = list(_rows(archive))
    except (_UnreadableError, *BROKEN) as error:
        reason = next((told for kind, told in BROKEN.items() if isinstance(error, kind)), error)
        raise InputError(
            f"{file} is not a workbook that can be read ({reason}); save it as .tsv"
        ) from error
    header = rows[0] if rows else {}
    for row in rows[1:]:
        yield {name: row.get(column, "") for column, name in header.items()}


def _rows(archive: zipfile.ZipFile) -> Iterator[dict[int, str]]:
    """The cells that are not empty, by column from 0."""
    texts = []
    if SHARED in archive.namelist():
        texts = [_text(item) for item in _elements(archive, SHARED, "si")]
    for row in _elements(archive, _first_sheet(archive), "row"):
        cells, column = {}, -1
        for cell in row:
            column = _column(cell.get("r", ""), column + 1)
            value = _value(cell, texts)
            if value:
                cells[column] = value
        if cells:
            yield cells


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """The part of the archive that holds the sheet people see first."""
    sheet = next(_elements(archive, BOOK, "sheet"), None)
    if sheet is None:
        raise _UnreadableError("it has no sheet")
    key = next((value for name, value in sheet.items() if name.endswith("}id")), None)
    for relation in _elements(archive, RELATIONS, "Relationship"):
        if relation.get("Id") == key:
            # Relative to the folder of the workbook, or from the root with a slash in front.
            return posixpath.join("xl", relation.attrib["Target"]).lstrip("/")
    raise _UnreadableError("it lacks the part of its first sheet")


def _elements(archive: zipfile.ZipFile, part: str, name: str) -> Iterator[ElementTree.Element]:
    """Yields each element of a name, and forgets it afterwards: sheets can be large."""
    if archive.getinfo(part).file_size > LIMIT:
        raise _UnreadableError(f"{part} is larger than {LIMIT} bytes")
    data = archive.read(part)
    if b"<!DOCTYPE" in data:  # entities could grow without bound
        raise _UnreadableError(f"{part} declares a document type")
    for _, element in ElementTree.iterparse(io.BytesIO(data)):
        if element.tag.endswith(f"}}{name}"):
            yield element
            element.clear()


def _column(reference: str, otherwise: int) -> int:
    """The column of a reference such as ``AB7``; writers may leave references out."""
    number = 0
    for letter in re.sub("[^A-Z]", "", reference):
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1 if number else otherwise


def _value(cell: ElementTree.Element, texts: list[str]) -> str:
    kind, parts = cell.get("t", "n"), {part.tag.rpartition("}")[2]: part for part in cell}
    if kind == "inlineStr":
        return _text(parts["is"]) if "is" in parts else ""
    raw = (parts["v"].text or "") if "v" in parts else ""
    if kind == "e" or ("f" in parts and not raw):
        # What a caption that starts with "=" becomes in careless hands.
        raise _UnreadableError(f"cell {cell.get('r')} holds an error, or a formula without a value")
    if kind == "s" and raw:
        return texts[int(raw)]
    return _number(raw) if kind == "n" else _unescaped(raw)


def _number(raw: str) -> str:
    whole = "." in raw or "E" in raw.upper()
    return str(int(float(raw))) if whole and float(raw).is_integer() else raw


def _text(item: ElementTree.Element) -> str:
    """All runs of a text, its phonetic guides left out."""
    runs = [item, *item.iterfind("{*}r")]
    return _unescaped("".join(run.findtext("{*}t") or "" for run in runs))


def _unescaped(text: str) -> str:
    """Characters that XML cannot hold are written ``_x000D_``."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)
