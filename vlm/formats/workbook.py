"""The first sheet of an Excel workbook as records: just enough to read other tools' results."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from vlm.errors import InputError

SPACE = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
FIRST_SHEET = "xl/worksheets/sheet1.xml"
SHARED = "xl/sharedStrings.xml"
LIMIT = 2**31  # bytes of XML; more is no result file


def read_workbook(file: Path) -> Iterator[dict[str, str | int]]:
    """Yields a record for each row of the first sheet, the first row naming the fields.

    Whole numbers come as int, everything else as text; empty cells are left out.

    Raises:
        InputError: if the file is missing or no workbook.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
            texts = _shared_texts(archive) if SHARED in names else []
            rows = list(_rows(_parsed(archive, FIRST_SHEET), texts))
    except FileNotFoundError as error:
        raise InputError(f"file {file} does not exist; check the path") from error
    except (zipfile.BadZipFile, KeyError, IndexError, ValueError, ElementTree.ParseError) as error:
        raise InputError(
            f"{file} is not a workbook that can be read ({error}); save it as .tsv"
        ) from error
    header = {column: str(name) for column, name in rows[0].items()} if rows else {}
    for row in rows[1:]:
        yield {header[column]: value for column, value in row.items() if column in header}


def _parsed(archive: zipfile.ZipFile, name: str) -> ElementTree.Element:
    if archive.getinfo(name).file_size > LIMIT:
        raise ValueError(f"{name} is larger than {LIMIT} bytes")
    data = archive.read(name)
    if b"<!DOCTYPE" in data[:1024]:  # entities could grow without bound
        raise ValueError(f"{name} declares a document type")
    return ElementTree.fromstring(data)


def _shared_texts(archive: zipfile.ZipFile) -> list[str]:
    return [_text(item) for item in _parsed(archive, SHARED)]


def _text(item: ElementTree.Element) -> str:
    """All runs of a text, its phonetic guides left out."""
    own = [item.findtext(f"{SPACE}t") or ""]
    return "".join([*own, *(run.findtext(f"{SPACE}t") or "" for run in item.iter(f"{SPACE}r"))])


def _rows(sheet: ElementTree.Element, texts: list[str]) -> Iterator[dict[str, str | int]]:
    """Cells by the letters of their column."""
    for row in sheet.iter(f"{SPACE}row"):
        cells = {}
        for cell in row.iter(f"{SPACE}c"):
            value = _value(cell, texts)
            if value is not None:
                cells[re.sub(r"\d", "", cell.get("r", ""))] = value
        if cells:
            yield cells


def _value(cell: ElementTree.Element, texts: list[str]) -> str | int | None:
    kind, raw = cell.get("t", "n"), cell.findtext(f"{SPACE}v")
    if kind == "inlineStr":
        inline = cell.find(f"{SPACE}is")
        return None if inline is None else _unescaped(_text(inline))
    if raw is None:
        return None
    if kind == "s":
        return _unescaped(texts[int(raw)])
    if kind == "n" and float(raw).is_integer():
        return int(float(raw))
    return _unescaped(raw)


def _unescaped(text: str) -> str:
    """Characters that XML cannot hold are written ``_x000D_``."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda found: chr(int(found[1], 16)), text)
