"""Pages as one file: what texts hold stays text, pictures are described, tables are tables."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from vlm.explain.page import Entry, Figure, Gallery, Heading, Table, page

EVIL = '</p><script>alert(1)</script> & "quotes" <b>'
PICTURE = Image.new("RGB", (20, 10), "teal")


class Tags(HTMLParser):
    """Tags in order, with their attributes and the text right behind each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None], str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), ""))

    def handle_data(self, data):
        if self.tags:
            tag, attributes, text = self.tags[-1]
            self.tags[-1] = (tag, attributes, text + data)

    def of(self, *names: str) -> list[tuple[str, dict[str, str | None], str]]:
        return [row for row in self.tags if row[0] in names]

    def texts(self, *names: str) -> list[str]:
        return [text.strip() for _, _, text in self.of(*names)]


def decoded(address: str | None) -> Image.Image:
    assert address
    return Image.open(io.BytesIO(base64.b64decode(address.split(",", 1)[1])))


def test_a_page_is_one_file_and_captions_stay_text():
    parts = [
        *(Entry(EVIL, EVIL, PICTURE, [EVIL]), Heading(EVIL, EVIL)),
        *(Gallery([Entry(EVIL, EVIL, PICTURE, [EVIL], EVIL)]), Table(EVIL, [EVIL], [[EVIL, EVIL]])),
        Figure(PICTURE, EVIL),
    ]
    text = page(EVIL, parts, summary=EVIL, footer=EVIL)
    tags = Tags(text)
    assert not tags.of("script", "b", "link")
    described = [attributes["alt"] for _, attributes, _ in tags.of("img")]
    assert described == [f"{EVIL}: where each word of “{EVIL}” looked", EVIL, EVIL]
    for name in ("title", "h1", "h2", "h3", "caption", "td", "footer"):
        assert set(tags.texts(name)) == {EVIL}, name
    addresses = [of[name] for _, of, _ in tags.tags for name in ("src", "href") if name in of]
    assert len(addresses) == 3
    assert all(address and address.startswith("data:image/") for address in addresses)


def test_entries_are_headings_under_the_title_and_in_a_gallery_under_its_heading():
    one = Entry("a.jpg", "a cat", PICTURE, ["a reference"])
    alone = Tags(page("Title", [one, one], footer=""))
    assert [tag for tag, *_ in alone.of("h1", "h2", "h3")] == ["h1", "h2", "h2"]
    within = Tags(
        page("Title", [Heading("Mistakes", "two of them"), Gallery([one, one])], footer="")
    )
    assert [tag for tag, *_ in within.of("h1", "h2", "h3")] == ["h1", "h2", "h3", "h3"]
    assert within.texts("p") == ["", "two of them", *["a reference", "a.jpg"] * 2]
    assert len(within.of("section")) == len(within.of("img")) == 2


def test_an_entry_without_a_picture_has_its_words():
    tags = Tags(page("Title", [Entry("a.jpg", "what is it?", None, ["no photo"])], footer=""))
    assert not tags.of("img")
    assert tags.texts("h2") == ["what is it?"]
    assert tags.texts("p")[1:] == ["no photo", "a.jpg"]


def test_a_photo_is_a_jpeg_and_a_drawing_keeps_every_pixel():
    pixels = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3) * 2
    drawing = Image.fromarray(pixels)
    tags = Tags(page("Title", [Entry("a", "b", drawing), Figure(drawing, "numbers")], footer=""))
    photo, figure = (attributes["src"] for _, attributes, _ in tags.of("img"))
    assert decoded(photo).format == "JPEG"
    assert decoded(photo).size == (5, 7)
    assert decoded(figure).format == "PNG"
    np.testing.assert_array_equal(np.asarray(decoded(figure)), pixels)


def test_a_table_names_its_columns_and_rows():
    table = Table("Accuracy", ["kind", "questions", "%"], [["yes/no", "7", "1.50"], ["", "2", "9"]])
    tags = Tags(page("Title", [table], footer=""))
    assert tags.texts("caption") == ["Accuracy"]
    heads = [(attributes["scope"], text.strip()) for _, attributes, text in tags.of("th")]
    assert heads == [
        *(("col", "kind"), ("col", "questions"), ("col", "%")),
        *(("row", "yes/no"), ("row", "")),
    ]
    assert tags.texts("td") == ["7", "1.50", "2", "9"]
    assert len(tags.of("tr")) == 3
