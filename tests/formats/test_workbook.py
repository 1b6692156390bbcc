"""Workbooks, written here part by part, become records; those that cannot be read are told."""

import struct
import zipfile
from pathlib import Path

import pytest

from vlm.errors import InputError
from vlm.formats.workbook import LIMIT, read_workbook

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
BOOK = f"""<workbook xmlns="{MAIN}" xmlns:r="{LINKS}"><sheets>
<sheet name="first" sheetId="5" r:id="rId3"/><sheet name="second" sheetId="1" r:id="rId1"/>
</sheets></workbook>"""
RELATIONS = """<Relationships
xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
<Relationship Id="rId1" Target="worksheets/sheet2.xml"/>
<Relationship Id="rId3" Target="TARGET"/></Relationships>"""
HEADER = (
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>b</t></is></c></row>'
)


def write_workbook(file: Path, *, rows: str = "", shared: str = "", **parts: str) -> Path:
    """A workbook whose first sheet has these rows, with shared strings, and parts changed."""
    strings = f'<sst xmlns="{MAIN}">{shared}</sst>'
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
    target = parts.get("target", "worksheets/sheet1.xml")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", parts.get("book", BOOK))
        archive.writestr("xl/_rels/workbook.xml.rels", RELATIONS.replace("TARGET", target))
        archive.writestr("xl/worksheets/sheet1.xml", parts.get("sheet", sheet))
        if shared:
            archive.writestr("xl/sharedStrings.xml", strings)
    return file


def cells(*inner: str) -> str:
    """A header ``a``, ``b`` and a row of cells A2, B2."""
    placed = "".join(c.replace("<c", f'<c r="{col}2"') for col, c in zip("AB", inner, strict=True))
    return f'{HEADER}<row r="2">{placed}</row>'


def read(tmp_path: Path, first: str, second: str, *shared: str) -> dict[str, str]:
    texts = "".join(["<si><t>a</t></si>", *shared])
    rows = cells(first, second)
    (record,) = read_workbook(write_workbook(tmp_path / "a.xlsx", rows=rows, shared=texts))
    return record


def inline(text: str) -> str:
    return f'<c t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def test_shared_and_inline_texts(tmp_path):
    shared = "<si><t>two &lt;cats&gt;</t></si>"
    record = read(tmp_path, '<c t="s"><v>1</v></c>', inline(" Straße 🐕 &amp; \u2028 "), shared)
    assert record == {"a": "two <cats>", "b": " Straße 🐕 & \u2028 "}


def test_runs_are_joined_and_phonetic_guides_left_out(tmp_path):
    shared = "<si><r><t>a </t></r><r><rPr/><t>dog</t></r><rPh><t>ドッグ</t></rPh></si>"
    assert read(tmp_path, '<c t="s"><v>1</v></c>', "<c/>", shared) == {"a": "a dog", "b": ""}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("<c><v>42</v></c>", "42"),
        ('<c t="n"><v>42.0</v></c>', "42"),
        ("<c><v>4.2E1</v></c>", "42"),
        ("<c><v>12345678901234567</v></c>", "12345678901234567"),
        ("<c><v>2.5</v></c>", "2.5"),
        ("<c><v>-3</v></c>", "-3"),
        ('<c t="b"><v>1</v></c>', "1"),
        ('<c t="str"><f>A1</f><v>yes</v></c>', "yes"),
        ("<c><v/></c>", ""),
        ('<c t="s"/>', ""),
        ('<c t="inlineStr"/>', ""),
        ('<c s="3"/>', ""),
    ],
)
def test_every_value_comes_as_text(tmp_path, cell, text):
    assert read(tmp_path, cell, inline("x")) == {"a": text, "b": "x"}


def test_escapes_are_undone_once(tmp_path):
    record = read(tmp_path, inline("a_x000D_\nb_x0007_"), inline("_x005F_x000D_ _x00_ x000D_"))
    assert record == {"a": "a\r\nb\a", "b": "_x000D_ _x00_ x000D_"}


def test_empty_rows_and_columns_without_name_are_left_out(tmp_path):
    rows = (
        f'<row r="1"/>{HEADER}<row r="3"><c r="A3"/></row>'
        '<row r="4"><c r="B4"><v>7</v></c><c r="AA4"><v>5</v></c></row>'
    )
    file = write_workbook(tmp_path / "a.xlsx", rows=rows, shared="<si><t>a</t></si>")
    assert list(read_workbook(file)) == [{"a": "", "b": "7"}]


def test_references_may_be_missing(tmp_path):
    bare = '<row><c t="inlineStr"><is><t>a</t></is></c><c r="AB1"><v>3</v></c><c><v>5</v></c></row>'
    below = '<row><c><v>7</v></c><c r="AC2"><v>11</v></c></row>'
    file = write_workbook(tmp_path / "a.xlsx", rows=bare + below)
    assert list(read_workbook(file)) == [{"a": "7", "3": "", "5": "11"}]


@pytest.mark.parametrize("target", ["/xl/worksheets/sheet1.xml", "worksheets/sheet1.xml"])
def test_the_first_sheet_is_the_one_people_see_first(tmp_path, target):
    other = BOOK.replace("rId3", "rId2").replace("rId1", "rId3").replace("rId2", "rId1")
    rows = cells(inline("x"), inline("y"))
    shared = "<si><t>a</t></si>"
    file = write_workbook(tmp_path / "a.xlsx", rows=rows, shared=shared, target=target)
    assert list(read_workbook(file)) == [{"a": "x", "b": "y"}]
    write_workbook(file, rows=rows, shared=shared, target=target, book=other)
    with pytest.raises(InputError, match=r"\(a part of it is missing\)"):
        list(read_workbook(file))


def test_a_sheet_without_rows_has_no_record(tmp_path):
    assert list(read_workbook(write_workbook(tmp_path / "a.xlsx"))) == []


DOUBTFUL = '<!DOCTYPE x [<!ENTITY a "aaaa">]>'
SHEET = f'<worksheet xmlns="{MAIN}">%s</worksheet>'
BROKEN = {
    "text past the end": (
        {"rows": cells('<c t="s"><v>3</v></c>', "<c/>")},
        "a cell names a text that is not there",
    ),
    "no number": ({"rows": cells('<c t="s"><v>x</v></c>', "<c/>")}, "a cell holds no number where"),
    "formula": ({"rows": cells("<c><f>yes</f><v/></c>", "<c/>")}, "cell A2 holds an error, or a"),
    "error": ({"rows": cells('<c t="e"><v>#NAME?</v></c>', "<c/>")}, "cell A2 holds an error"),
    "half a sheet": ({"sheet": SHEET[:30]}, "a part of it is not whole XML"),
    "entities": ({"sheet": DOUBTFUL + SHEET}, "sheet1.xml declares a document type"),
    "no sheets": ({"book": f'<workbook xmlns="{MAIN}"/>'}, "it has no sheet"),
    "dangling": ({"book": BOOK.replace("rId3", "rId4")}, "it lacks the part of its first sheet"),
    "no link": ({"book": BOOK.replace("r:id", "id")}, "it lacks the part of its first sheet"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_workbook_is_told_in_one_sentence(tmp_path, kind):
    parts, reason = BROKEN[kind]
    shared = "<si><t>a</t></si>"
    file = write_workbook(tmp_path / "a.xlsx", **{"shared": shared, **parts})
    with pytest.raises(
        InputError,
        match=rf"^{file} is not a workbook that can be read \(.*{reason}.*\); save it as .tsv$",
    ):
        list(read_workbook(file))


def test_other_files_are_told(tmp_path):
    file = tmp_path / "a.xlsx"
    with pytest.raises(InputError, match=r"a.xlsx does not exist; check the path$"):
        list(read_workbook(file))
    with pytest.raises(InputError, match=r"^\S+ is a folder; name a file$"):
        list(read_workbook(tmp_path))
    for content in (b"", b"index,prediction\n", b"PK\x03\x04 and no more"):
        file.write_bytes(content)
        with pytest.raises(
            InputError, match=r"can be read \(it is no zip archive, or a damaged one\)"
        ):
            list(read_workbook(file))


def spoil(file: Path, field: int, form: str, value: int) -> None:
    """Changes a field of the sheet's entry in the archive's list, which is its third."""
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02")
    for _ in range(2):
        at = data.index(b"PK\x01\x02", at + 1)
    struct.pack_into(form, data, at + field, value)
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("field", "form", "value", "reason"),
    [
        (24, "<I", LIMIT + 1, f"xl/worksheets/sheet1.xml is larger than {LIMIT} bytes"),
        (8, "<H", 1, "it is encrypted, or packed in a way"),
        (10, "<H", 99, "it is encrypted, or packed in a way"),
        (16, "<I", 7, "it is no zip archive, or a damaged one"),
    ],
    ids=["larger than any sheet", "encrypted", "packed in a strange way", "damaged"],
)
def test_an_archive_that_cannot_be_unpacked_is_told(tmp_path, field, form, value, reason):
    file = write_workbook(tmp_path / "a.xlsx", rows=HEADER, shared="<si><t>a</t></si>")
    spoil(file, field, form, value)
    with pytest.raises(InputError, match=rf"is not a workbook .*{reason}.*; save it as .tsv$"):
        list(read_workbook(file))
