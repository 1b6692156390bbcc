"""The page of words: its size, what it lets in, and that what it holds is what it was given."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vlm.errors import InputError
from vlm.explain.overlay import HEAT, OPACITY
from vlm.explain.viewer import LONGEST, Reading, Viewed, quantised, viewer

EVIL = '</script><!-- <b>"it\'s" &amp; \u2028 {{data}} \\u003c é 猫'
LAYERS, HEADS, WORDS = 3, 8, 12


class Elements(HTMLParser):
    """Start tags with their attributes, and the text right behind each."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[list] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])

    def handle_data(self, data):
        if self.found:
            self.found[-1][2] += data

    def blocks(self) -> dict[str, str]:
        """What the page holds, by its name."""
        return {of["id"]: text for tag, of, text in self.found if tag == "script" and "id" in of}


def grid(rows: int, columns: int) -> np.ndarray:
    """Boxes of equal regions, row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([x / columns, y / rows, (x + 1) / columns, (y + 1) / rows], axis=1)


def rows(*shape: int, seed: int = 0) -> np.ndarray:
    """Weights as a softmax gives: rows sum to 1, some places far above others."""
    scores = np.exp(3 * np.random.default_rng(seed).normal(size=shape))
    return (scores / scores.sum(axis=-1, keepdims=True)).astype(np.float32)


def reading(words: int = WORDS, regions: int = 49, **more) -> Reading:
    names = ("rollout", "gradient", "relevance", "occlusion")
    return Reading(
        words=[f"word{number}" for number in range(words)],
        weights=rows(LAYERS, HEADS, words, regions),
        **{
            "probabilities": np.linspace(0.1, 1, words, dtype=np.float32),
            "runners_up": [[(f"other{number}", 0.0123) for number in range(5)]] * words,
            "maps": {name: rows(words, regions, seed=at) for at, name in enumerate(names)},
            "deletion": dict.fromkeys(names, 0.25),
            **more,
        },
    )


def natural(seed: int, width: int = 640, height: int = 480) -> Image.Image:
    """A picture whose amplitudes fall with frequency, as those of photos do (Field, 1987).

    They fall a little faster, for random phases take more bytes than the edges of photos.
    """
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    grey, *tints = (
        np.fft.irfft2(np.fft.rfft2(random.normal(size=(height, width))) / frequency**power)
        for power in (1.3, 1.6, 1.6)
    )
    grey, *tints = (each / each.std() for each in (grey, *tints))
    values = 128 + 52 * np.stack([grey + 0.4 * tints[0], grey, grey + 0.4 * tints[1]], axis=-1)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def decoded(block: str, regions: int) -> np.ndarray:
    """``(row, region)`` of a block, by the words of :func:`quantised`."""
    data = base64.b64decode(block)
    count = len(data) // (4 + regions)
    scales = np.frombuffer(data, "<f4", count)
    levels = np.frombuffer(data, np.uint8, offset=4 * count).reshape(count, regions)
    return levels * scales[:, None].astype(np.float64)


def opened(text: str) -> dict:
    """The blocks of a page, those of JSON read."""
    blocks = Elements(text).blocks()
    return {name: b if name.startswith("photo") else json.loads(b) for name, b in blocks.items()}


PLAIN = Image.new("RGB", (40, 30), "teal")


def test_sizes_of_one_photo_and_of_a_gallery():
    pictures = [natural(seed) for seed in range(5)]
    beams = [reading(score=-float(beam)) for beam in range(3)]
    one = viewer("one", [Viewed("a.jpg", pictures[0], grid(7, 7), beams)])
    gallery = viewer(
        "many", (Viewed(f"{n}.jpg", pictures[n % 5], grid(7, 7), [reading()]) for n in range(100))
    )
    photos = [text for name, text in opened(one).items() if name.startswith("photo")]
    # Photos of these sides take some 60 kB so; easier ones would prove nothing.
    assert len(photos[0]) > 60_000
    assert len(one.encode()) < 400_000
    assert len(gallery.encode()) < 12_000_000


def test_what_texts_hold_stays_text():
    text = Reading(
        [EVIL, "b"],
        rows(2, 3, 2, 6),
        *([0.5, 0.25], [[(EVIL, 0.1)], []], {EVIL: rows(2, 6)}, {EVIL: 0.5}, -1.5),
        answers=[(EVIL, 0.75)],
        name=EVIL,
    )
    said = viewer(EVIL, [Viewed(EVIL, PLAIN, grid(2, 3), [text], {EVIL: 1.5})])
    elements, blocks = Elements(said), opened(said)
    assert [name for name, *_ in elements.found if name in {"b", "body"}] == ["body"]
    assert {text.strip() for tag, _, text in elements.found if tag in {"title", "h1"}} == {EVIL}
    assert said.count("</script") == said.count("<script") == 4
    assert "<!--" not in said
    about, entry = blocks["page"], blocks["entry-0"]["readings"][0]
    assert about["entries"] == [{"title": EVIL, "texts": [f"{EVIL} b"], "scores": {EVIL: 1.5}}]
    assert entry["words"] == [EVIL, "b"]
    assert entry["answers"] == [[EVIL, 0.75]]
    assert entry["runnersUp"] == [[[EVIL, 0.1]], []]
    assert list(entry["maps"]) == list(entry["deletion"]) == [EVIL]
    assert (entry["name"], entry["score"]) == (EVIL, -1.5)


def test_weights_come_back_within_the_stated_error():
    text = reading(words=5, regions=11)
    text.weights[1, 2, 3] = 0  # a row without any weight stays one
    boxes = np.random.default_rng(1).random((11, 4))
    got = opened(viewer("a", [Viewed("a", PLAIN, boxes, [text])]))["entry-0"]["readings"][0]
    assert (got["layers"], got["heads"]) == (LAYERS, HEADS)
    assert list(got["maps"]) == list(text.maps)
    for block, given in [
        (got["weights"], text.weights),
        *zip(got["maps"].values(), text.maps.values(), strict=True),
    ]:
        flat = given.reshape(-1, 11).astype(np.float64)
        error = np.abs(decoded(block, 11) - flat)
        bound = flat.max(axis=1, keepdims=True) / 510
        assert (error <= bound * (1 + 1e-5)).all()
        assert error.max() > bound.max() / 2  # it is no looser than it has to be


def test_a_row_is_its_scale_and_its_bytes():
    data = quantised(np.array([[0.0, 0.51, 0.255], [0.2, 0.4, 0.8]]))
    scales = np.frombuffer(data[:8], "<f4")
    np.testing.assert_allclose(scales, [0.51 / 255, 0.8 / 255], rtol=1e-6)
    # 0.255 is 127.5 of 255ths and 0.2 is 63.75: to the nearest.
    assert list(data[8:]) in ([0, 255, 127, 64, 128, 255], [0, 255, 128, 64, 128, 255])


def test_maps_that_weights_give_are_left_to_the_page():
    text = reading(maps=dict.fromkeys(("last", "layer-2-head-8", "x"), rows(WORDS, 49)))
    got = opened(viewer("a", [Viewed("a", PLAIN, grid(7, 7), [text])]))["entry-0"]
    assert list(got["readings"][0]["maps"]) == ["x"]


def test_the_page_loads_nothing_and_runs_nothing_but_its_own():
    said = viewer("a", [Viewed("a.jpg", PLAIN, grid(7, 7), [reading()])])
    elements = Elements(said)
    for unsafe in ("innerHTML", "insertAdjacentHTML", "eval(", "document.write", "fetch("):
        assert unsafe not in said
    assert "http" not in said.replace("http-equiv", "")
    loaded = [of[name] for _, of, _ in elements.found for name in ("src", "href") if name in of]
    assert set(loaded) == {"data:,", "#"}
    (policy,) = [of["content"] for _, of, _ in elements.found if "http-equiv" in of]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    for kind, tag in (("style-src", "style"), ("script-src", "script")):
        (own,) = re.findall(rf"<{tag}>(.*?)</{tag}>", said, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"


def test_photos_are_scaled_and_that_is_said():
    entries = [
        Viewed("large", Image.new("RGB", (2048, 1024), "red"), grid(7, 7), [reading()]),
        Viewed("small", Image.new("L", (30, 40)), grid(7, 7), [reading()]),
    ]
    said = viewer("a", entries)
    blocks = opened(said)
    assert [blocks[f"entry-{n}"]["size"] for n in (0, 1)] == [[2048, 1024], [30, 40]]
    assert [blocks[f"entry-{n}"]["shown"] for n in (0, 1)] == [[LONGEST, 256], [30, 40]]
    photo = Image.open(io.BytesIO(base64.b64decode(blocks["photo-0"])))
    assert (photo.format, photo.size) == ("JPEG", (LONGEST, 256))
    assert "Scaled: 1 of 2 photos, to 512 pixels on the longer side." in said
    assert "The photo was scaled to 512 pixels" in viewer("a", entries[:1])
    assert "on the longer side" not in viewer("a", entries[1:])
    assert entries[0].picture.size == (2048, 1024)


def test_colours_are_those_of_the_overlay_and_the_footer_says_what_it_is():
    said = viewer("a", [Viewed("a", PLAIN, grid(7, 7), [reading()])], reduction="rollout")
    about = opened(said)["page"]
    assert about["heat"] == HEAT.tolist()
    assert (about["opacity"], about["reduction"]) == (OPACITY, "rollout")
    footer = said.split("<footer>")[1].split("</footer>")[0]
    for part in (
        "not of why",
        "occlusion is no attention",
        "Jain &amp; Wallace 2019",
        "Wiegreffe &amp; Pinter 2019",
        "1/510",
    ):
        assert part in footer


def test_texts_are_named_and_given_words_have_no_probability():
    likely = np.array([*[np.nan] * (WORDS - 1), 0.75])
    question = reading(probabilities=likely, score=-np.inf, answers=[("yes", 0.5), ("no", 0.25)])
    plain = reading(probabilities=None)

    def held(*texts: Reading) -> list[tuple[str, list]]:
        got = opened(viewer("a", [Viewed("a", PLAIN, grid(7, 7), texts)]))["entry-0"]["readings"]
        return [(each["name"], each["probabilities"][-2:]) for each in got]

    assert held(reading()) == [("caption", [0.9182, 1])]
    assert held(reading(), plain) == [("beam 1", [0.9182, 1]), ("beam 2", [])]
    assert held(reading(), question) == [("caption", [0.9182, 1]), ("question", [None, 0.75])]
    assert held(reading(name="by a person"))[0][0] == "by a person"


def test_the_gallery_tells_an_answer_from_its_question():
    weights = rows(2, 3, 3, 49)
    texts = [
        Reading(["how", "many", "2"], weights, [np.nan, np.nan, 0.5]),
        Reading(["how", "many", "?"], weights),
        Reading(["a", "dog", "runs"], weights, [0.5, 0.5, 0.5]),
    ]
    about = opened(viewer("a", [Viewed("a", PLAIN, grid(7, 7), texts)]))["page"]
    assert about["entries"][0]["texts"] == ["how many → 2", "how many ?", "a dog runs"]


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [(grid(7, 7), True), (grid(3, 5), True), (grid(7, 7) * 0.9, False)],
)
def test_grids_are_told_from_boxes(boxes, expected):
    text = reading(regions=len(boxes))
    assert opened(viewer("a", [Viewed("a", PLAIN, boxes, [text])]))["entry-0"]["grid"] is expected


NONE = np.zeros((0, 0, 2, 4))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "a.jpg has no text to show; give it"),
        (
            [Reading(["x"], rows(2, 3, 2, 4))],
            r"1 words and 4 boxes need rows of \(1, 4\), got weights",
        ),
        ([Reading(["x"], rows(2, 1, 4))], "got weights of"),
        ([Reading(["x", "y"], rows(2, 3, 2, 4), maps={"m": rows(2, 5)})], r"got m of \(2, 5\)"),
        ([Reading(["x", "y"], -rows(2, 3, 2, 4))], "weights has values below 0"),
        ([Reading(["x", "y"], rows(2, 3, 2, 4), [0.5])], "probabilities of 2 words, got 1"),
        ([Reading(["x", "y"], rows(2, 3, 2, 4), None, [[]])], "runners_up of 2 words, got 1"),
        ([Reading(["x", "y"], NONE)], "neither weights nor maps"),
    ],
)
def test_entries_that_do_not_fit_are_refused(texts, message):
    with pytest.raises(InputError, match=message):
        viewer("a", [Viewed("a.jpg", PLAIN, grid(2, 2), texts)])


def test_pages_that_cannot_be_are_refused():
    entry = Viewed("a.jpg", PLAIN, grid(2, 2), [Reading(["x"], rows(1, 1, 1, 4))])
    with pytest.raises(InputError, match="at least one image"):
        viewer("a", [])
    with pytest.raises(InputError, match=r"no text has the reduction 'x'; there are last, mean"):
        viewer("a", [entry], reduction="x")
    with pytest.raises(InputError, match=r"boxes of \(region, 4\)"):
        viewer("a", [entry._replace(boxes=np.zeros((4, 3)))])


def test_a_text_of_maps_alone_and_one_without_words_are_shown():
    alone = Reading(["yes"], np.zeros((0, 0, 1, 4)), maps={"gradient": rows(1, 4)}, name="answer")
    empty = Reading([], np.zeros((2, 3, 0, 4)), [])
    entries = [Viewed("a", PLAIN, grid(2, 2), [alone]), Viewed("b", PLAIN, grid(2, 2), [empty])]
    blocks = opened(viewer("a", entries, reduction="gradient"))
    assert blocks["entry-0"]["readings"][0]["weights"] == ""
    assert blocks["entry-1"]["readings"][0]["words"] == []


def test_pages_are_made_without_torch():
    code = "import sys, vlm.explain.viewer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
