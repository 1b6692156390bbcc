"""One image of the page of words in a real browser: keys, what is read aloud, pixels."""

import numpy as np
import pytest
from PIL import Image
from viewed import (
    GREY,
    LOWER_RIGHT,
    MIDDLE,
    SELECTED,
    UPPER_LEFT,
    boxes,
    caption,
    looks,
    many,
    of_one,
)

from vlm.explain.overlay import HEAT, OPACITY, heat_maps, overlay
from vlm.explain.viewer import Reading, Viewed

pytestmark = pytest.mark.browser


def test_keys_move_through_words_and_what_is_seen_is_said(show):
    page = show(of_one(caption()))
    assert page.text(SELECTED) == "a"
    assert (
        page.text("#status")
        == "word 1 of 3: “a”, probability 0.50, looks most at upper left (53 %)"
    )
    assert page.evaluate("document.querySelector('#status').getAttribute('aria-live')") == "polite"
    page.press("ArrowRight")
    assert page.text(SELECTED) == "dog"
    said = "word 2 of 3: “dog”, probability 0.83, looks most at lower right (53 %)"
    assert page.text("#status") == said
    assert page.evaluate("document.activeElement.textContent") == "dog"
    rows = page.evaluate(
        "[...document.querySelectorAll('#chances li')].map(row => row.innerText.split(/\\s+/))"
    )
    assert rows == [["dog", "0.83"], ["cat", "0.10"], ["fox", "<0.01"]]
    page.press("End")
    assert page.text("#status").startswith(
        "word 3 of 3: “runs”, probability 0.25, looks most at the middle"
    )
    page.press("ArrowRight")
    assert page.text(SELECTED) == "runs"
    page.press("Home")
    assert page.text(SELECTED) == "a"
    page.hover("#words .word:nth-child(2)")
    assert page.text("#status") == said


def test_layers_heads_and_reductions_are_chosen(show):
    page = show(of_one(caption()))

    def chosen() -> list[str]:
        ids = ("reduction", "layer", "head")
        return [page.evaluate(f"document.querySelector('#{name}').value") for name in ids]

    assert chosen() == ["last", "2", "0"]
    assert page.text("#deletion") == "Deletion 0.42, by chance 0.50; lower is better"
    page.choose("#layer", "1")
    assert chosen() == ["one layer or head", "1", "0"]
    assert page.text("#deletion") == "Deletion not measured"
    # The heads look at two places, half of a word each.
    assert "(50 %)" in page.text("#status")
    page.choose("#head", "1")
    assert page.text("#status").endswith("looks most at middle right (100 %)")
    page.click("#head-grid canvas:nth-child(2)")
    assert chosen() == ["one layer or head", "1", "2"]
    assert page.text("#status").endswith("looks most at the middle (100 %)")
    page.choose("#reduction", "rollout")
    assert chosen() == ["rollout", "", ""]
    assert page.text("#status").endswith("looks most at lower right (100 %)")
    page.choose("#reduction", "last")
    for name in ("mean", "layer-1", "layer-2", "rollout", "rollout"):
        page.press("ArrowDown")
        assert f"map={name}" in page.evaluate("location.hash")
        assert page.text("#map-said") == f"map: {name}"
    page.press("ArrowUp")
    assert chosen() == ["one layer or head", "2", "0"]
    page.evaluate("document.querySelector('#layer').focus()")
    page.press("ArrowUp")  # is the select's own
    assert chosen() == ["one layer or head", "1", "0"]
    assert page.text(SELECTED) == "a"


def test_the_overlay_is_where_the_word_looks_in_the_colours_of_the_scale(show):
    page = show(
        of_one(caption(maps={"rollout": looks(UPPER_LEFT, LOWER_RIGHT, MIDDLE)})),
        address="#map=rollout",
    )
    before = page.screenshot("#frame").astype(int)
    page.press("ArrowRight")
    after = page.screenshot("#frame").astype(int)
    height, width, _ = before.shape
    assert abs(width / height - 200 / 120) < 0.02
    moved = np.abs(after - before).max(axis=-1) > 20
    # But for its round corners.
    assert moved[8 : height // 4, 8 : width // 6].all()
    assert moved[-height // 4 : -8, -width // 6 : -8].all()
    assert not moved[height // 3 : 2 * height // 3, 2 * width // 5 : 3 * width // 5].any()
    # The photo is grey 128, so that its mixture with either end of the colours is known.
    most, least = ((1 - OPACITY) * 128 + OPACITY * np.array(HEAT[end]) for end in (-1, 0))
    np.testing.assert_allclose(after[-height // 12, -width // 20], most, atol=6)
    np.testing.assert_allclose(before[height // 12, width // 20], most, atol=6)
    np.testing.assert_allclose(after[height // 6, width // 10], least, atol=3)
    page.click("#show-map")
    np.testing.assert_allclose(page.screenshot("#frame")[height // 2, width // 2], 128, atol=2)


@pytest.mark.parametrize("grid", [True, False])
def test_the_overlay_is_nearly_that_of_pictures(show, grid):
    random = np.random.default_rng(3)
    corners = random.uniform(0, 0.7, (9, 2))
    regions = boxes() if grid else np.hstack([corners, corners + random.uniform(0.1, 0.3, (9, 2))])
    row = random.dirichlet(np.full(len(regions), 0.5))
    page = show(of_one(Reading(["dog"], row[None, None, None]), regions=regions))
    page.evaluate("document.querySelector('#outline').hidden = true")
    seen = page.screenshot("#frame").astype(float)
    picture = GREY.resize(seen.shape[1::-1])
    (heat,) = heat_maps(row[None], regions, picture.size)
    difference = np.abs(seen - np.asarray(overlay(picture, heat)))[8:-8, 8:-8]
    assert difference.mean() < 2.5
    assert np.quantile(difference, 0.99) < 10


def test_one_scale_for_all_words_dims_those_that_look_everywhere(show):
    rows = np.concatenate([looks(UPPER_LEFT), looks(LOWER_RIGHT, share=0.1), looks(MIDDLE)])
    page = show(of_one(caption(maps={"rollout": rows})), address="#map=rollout&word=2")
    corner = (slice(-60, -30), slice(-60, -30))
    own, peak = page.screenshot("#frame")[corner].mean(), page.text("#peak")
    page.click("#same-scale")
    assert page.screenshot("#frame")[corner].mean() < own - 40
    # All of a word within one of 15 regions of equal size is 15 times an even spread.
    assert float(peak.split("\u00d7")[0]) < 3
    assert 12 < float(page.text("#peak").split("\u00d7")[0]) <= 15


def test_the_box_that_is_looked_at_most_is_outlined(show):
    regions = np.array([[0.1, 0.2, 0.3, 0.6], [0.5, 0.25, 1, 0.75]])
    text = Reading(["a", "dog"], np.array([[[[0.9, 0.1], [0.3, 0.7]]]]))
    page = show(of_one(text, regions=regions))
    script = """(() => {
      const boxOf = (selector) => document.querySelector(selector).getBoundingClientRect();
      const [frame, box] = ["#frame", "#outline"].map(boxOf);
      const [x0, x1] = [box.left, box.right].map((x) => (x - frame.left) / frame.width);
      const [y0, y1] = [box.top, box.bottom].map((y) => (y - frame.top) / frame.height);
      return [x0, y0, x1, y1];
    })()"""
    np.testing.assert_allclose(page.evaluate(script), regions[0], atol=0.01)
    page.press("ArrowRight")
    np.testing.assert_allclose(page.evaluate(script), regions[1], atol=0.01)
    assert show(of_one(caption())).evaluate("document.querySelector('#outline').hidden")


def test_beams_are_compared_and_a_question_shows_its_answers(show):
    page = show(
        of_one(caption(score=-1.5), caption("two dogs run", score=-2.25)), address="#word=2"
    )
    assert page.text("#texts legend") == "Beams and their scores"
    labels = (
        "[...document.querySelectorAll('#texts label')].map(label => label.innerText.split(/\\n/))"
    )
    assert page.evaluate(labels) == [["a dog runs", "\u22121.50"], ["two dogs run", "\u22122.25"]]
    page.click("#texts label:last-of-type input")
    assert page.text(SELECTED) == "dogs"
    assert "text=2&word=2" in page.evaluate("location.hash")
    likely = [float("nan"), float("nan"), 0.75]
    question = caption("how many 2", probabilities=likely, answers=[("2", 0.75), ("3", 0.2)])
    page = show(of_one(question), address="#word=2")
    assert page.text("#status") == "word 2 of 3: “many”, looks most at lower right (53 %)"
    page.press("ArrowRight")
    assert page.text("#status") == "answer: “2”, probability 0.75, looks most at the middle (53 %)"
    answers = (
        "[...document.querySelectorAll('#answers li')].map(row => row.innerText.split(/\\s+/))"
    )
    assert page.evaluate(answers) == [["2", "0.75"], ["3", "0.20"]]
    widths = "[...document.querySelectorAll('#answers .track span')].map(bar => bar.style.width)"
    assert page.evaluate(widths) == ["75%", "20%"]


def test_a_narrow_screen_scrolls_down_only(show):
    for entries in (of_one(caption(), caption()), many(7)):
        page = show(entries, width=320, height=640)
        assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.parametrize(("size", "ratio"), [((2, 3000), 1 / 3), ((3000, 2), 12), ((1, 1), 1)])
def test_a_photo_of_a_few_pixels_or_far_too_long_is_still_seen(show, size, ratio):
    entry = Viewed("odd.png", Image.new("RGB", size), boxes(), [caption()])
    page = show([entry])
    for part in ("#frame", "#map", "#head-grid canvas"):
        box = f"document.querySelector('{part}').getBoundingClientRect()"
        width, height = page.evaluate(f"(({{width, height}}) => [width, height])({box})")
        assert width / height == pytest.approx(ratio, rel=0.15), part
        assert min(width, height) > 6, part
    assert page.evaluate("document.documentElement.scrollHeight") < 1600
    legend = page.evaluate("document.querySelector('.legend').getBoundingClientRect().height")
    assert legend < 30, "in one line"


def test_everything_has_a_name_and_text_has_contrast(show):
    page = show(many(3), address="#image=1")
    unnamed = (
        "[...document.querySelectorAll('select, input')].filter(each => !each.labels.length).length"
        " + [...document.images].filter(each => !each.hasAttribute('alt')).length"
    )
    assert page.evaluate(unnamed) == 0
    assert page.evaluate("document.querySelector('#photo').alt") == "Photo 1.jpg"
    assert page.evaluate("document.querySelector('#map').getAttribute('aria-label')") == (
        "Attention of “a”, by last: looks most at upper left (53 %)"
    )
    colours = """["--ink", "--quiet", "--mark", "--faint"].map((name) =>
      getComputedStyle(document.documentElement).getPropertyValue(name).trim())"""
    ink, quiet, mark, faint = map(luminance, page.evaluate(colours))
    for dark in (ink, quiet, mark):
        for light in (1.0, faint):
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def luminance(colour: str) -> float:
    """Relative, of ``#rrggbb``, as WCAG 2 defines it."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
