"""Pictures with their captions and maps as one HTML file that needs no network."""

import base64
import html
import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1500px; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; }
section { border-top: 1px solid #ccc; padding: 1rem 0; }
.caption { font-size: 1.15rem; font-weight: 600; margin: 0 0 .3rem; }
.note, footer { color: #555; margin: .3rem 0; }
img { max-width: 100%; display: block; }
"""
FOOTER = (
    "A map shows the attention weights of the decoder's last layer, averaged over its heads, "
    "when the word was chosen. It tells where the model looked, not why it chose the word."
)


class Entry(NamedTuple):
    """One picture of a page.

    Attributes:
        title: of the picture, its file name say.
        caption: that was written.
        strip: the picture and its maps.
        notes: further lines: references, scores.
    """

    title: str
    caption: str
    strip: Image.Image
    notes: Sequence[str] = ()


def page(title: str, entries: Sequence[Entry], *, summary: str = "") -> str:
    """An HTML page; whatever captions hold, it stays text.

    Args:
        title: of the page.
        entries: from top to bottom.
        summary: a line below the title.
    """
    sections = "\n".join(_section(entry) for entry in entries)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{html.escape(title)}</h1>\n<p class="note">{html.escape(summary)}</p>\n'
        f"{sections}\n<footer>{html.escape(FOOTER)}</footer>\n</body>\n</html>\n"
    )


def _section(entry: Entry) -> str:
    notes = "".join(f'<p class="note">{html.escape(note)}</p>' for note in entry.notes)
    words = html.escape(entry.caption)
    described = f"{html.escape(entry.title)}: where each word of “{words}” looked"
    return (
        f'<section><p class="caption">{words}</p>'
        f'<img src="{_data_uri(entry.strip)}" alt="{described}">{notes}'
        f'<p class="note">{html.escape(entry.title)}</p></section>'
    )


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
