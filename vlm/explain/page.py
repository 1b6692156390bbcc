"""Pictures and what was said of them, tables and drawings as one HTML file without network."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from PIL import Image

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1500px; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .2rem; }
section { border-top: 1px solid #ccc; padding: 1rem 0; }
.caption { font-size: 1.15rem; font-weight: 600; margin: 0 0 .3rem; }
.note, footer { color: #555; margin: .3rem 0; }
img { max-width: 100%; display: block; }
table, figure { margin: 1.5rem 2.5rem 0 0; vertical-align: top; }
table { display: inline-table; border-collapse: collapse; font-variant-numeric: tabular-nums;
        overflow-wrap: normal; }
figure { display: inline-block; max-width: 100%; }
caption { font-weight: 600; text-align: left; padding-bottom: .3rem; }
th, td { border-bottom: 1px solid #ccc; padding: .1rem 0 .1rem 1.2rem; text-align: right; }
th { font-weight: 400; color: #555; }
th:first-child { text-align: left; padding-left: 0; }
th[scope=row] { color: inherit; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr));
           gap: 0 2rem; }
"""


class Entry(NamedTuple):
    """One picture of a page.

    Attributes:
        title: of the picture, its file name say.
        caption: that was written, or what was asked.
        picture: with its maps, say; None where there is none to show.
        notes: further lines: references, scores.
        described: the picture in words, for those who do not see it; when empty, that it shows
            where each word of the caption looked.
    """

    title: str
    caption: str
    picture: Image.Image | None
    notes: Sequence[str] = ()
    described: str = ""


class Heading(NamedTuple):
    """Of what follows.

    Attributes:
        title: of it.
        note: a line below the title.
    """

    title: str
    note: str


class Gallery(NamedTuple):
    """Small entries side by side, below a heading.

    Attributes:
        entries: row by row.
    """

    entries: Sequence[Entry]


class Table(NamedTuple):
    """Numbers in rows; tables and figures stand side by side where there is room.

    Attributes:
        title: above it.
        columns: their names.
        rows: as many cells each, the first being its name.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Figure(NamedTuple):
    """A drawing, kept to the pixel.

    Attributes:
        picture: that is shown.
        described: it in words, for those who do not see it.
    """

    picture: Image.Image
    described: str


Part = Entry | Heading | Gallery | Table | Figure


def page(title: str, parts: Iterable[Part], *, footer: str, summary: str = "") -> str:
    """An HTML page; whatever captions hold, it stays text.

    Args:
        title: of the page.
        parts: from top to bottom.
        footer: the last line: what is shown, and what it is evidence of.
        summary: a line below the title.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n{_note(summary)}\n<main>\n"
        + "\n".join(map(_part, parts))
        + f"\n</main>\n<footer>{html.escape(footer)}</footer>\n</body>\n</html>\n"
    )


def _part(part: Part) -> str:
    match part:
        case Entry():
            return _entry(part, level=2)
        case Heading():
            return f"<h2>{html.escape(part.title)}</h2>\n{_note(part.note)}"
        case Gallery():
            entries = "\n".join(_entry(entry, level=3) for entry in part.entries)
            return f'<div class="gallery">\n{entries}\n</div>'
        case Table():
            return _table(part)
        case Figure():
            return f"<figure>{_image(part.picture, part.described, form='PNG')}</figure>"


def _entry(entry: Entry, *, level: int) -> str:
    described = entry.described or f"{entry.title}: where each word of “{entry.caption}” looked"
    picture = "" if entry.picture is None else _image(entry.picture, described, form="JPEG")
    return (
        f'<section><h{level} class="caption">{html.escape(entry.caption)}</h{level}>{picture}'
        f"{''.join(map(_note, (*entry.notes, entry.title)))}</section>"
    )


def _table(table: Table) -> str:
    names = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{html.escape(first)}</th>'
        f"{''.join(f'<td>{html.escape(cell)}</td>' for cell in others)}</tr>"
        for first, *others in table.rows
    )
    return (
        f"<table>\n<caption>{html.escape(table.title)}</caption>\n"
        f"<thead><tr>{names}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    )


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _image(picture: Image.Image, described: str, *, form: str) -> str:
    """A picture within the page, as JPEG or PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, format=form, quality=85)
    data = base64.b64encode(buffer.getvalue()).decode()
    kind = f"image/{form.lower()}"
    return f'<img src="data:{kind};base64,{data}" alt="{html.escape(described)}">'
