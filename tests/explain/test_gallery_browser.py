"""The gallery of the page of words in a real browser, and the way to its images and back."""

from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pytest
from browser import Browser
from viewed import EVIL, SELECTED, many

from vlm.cli import main

pytestmark = pytest.mark.browser
TITLES = "[...document.querySelectorAll('#thumbnails .title')].map(title => title.textContent)"

READINGS = (
    "[...document.querySelectorAll('[id^=entry-]')]"
    ".map(entry => JSON.parse(entry.textContent).readings[0])"
)


def test_a_gallery_is_searched_sorted_and_turned(show):
    page = show(many())
    assert page.text("#found") == "images 1\u201350 of 120"
    assert page.evaluate(TITLES)[:2] == ["1.jpg", "2.jpg"]
    page.click("#page-on")
    page.click("#page-on")
    assert page.text("#found") == "images 101\u2013120 of 120"
    assert page.evaluate(TITLES)[-1] == "120.jpg"
    page = show(many(), address="#page=99")
    assert page.text("#page-place") == "page 3 of 3"
    page.choose("#sort", "CIDEr-D down")
    # 7 * 17 = 119; then 7 * 34 = 238 = 118 more than 120.
    assert page.evaluate(TITLES)[:2] == ["18.jpg", "35.jpg"]
    page.choose("#sort", "CIDEr-D up")
    assert page.evaluate(TITLES)[0] == "1.jpg"
    page.click("#page-on")
    page.click("#page-on")
    assert page.evaluate(TITLES)[-1] == "3.jpg"  # without a score, so the last
    page.evaluate("document.querySelector('#search').focus()")
    page.write("CÁT  2.jp")
    assert page.text("#found") == "images 1\u20134 of 4 that match, 120 in all"
    page.choose("#sort", "title")
    assert page.evaluate(TITLES) == ["2.jpg", "32.jpg", "62.jpg", "92.jpg"]
    assert "search=C%C3%81T" in page.evaluate("location.hash")
    page.write(" horse")
    assert page.text("#found") == "no image that matches, 120 in all"


def test_the_commands_gallery_is_sorted_by_the_scores_of_its_texts(
    browser: Browser, tiny_checkpoint: Path, tiny_world: Path, tmp_path: Path
):
    photos = sorted((tiny_world / "images").glob("test_0*"))[:4]
    asked = ["--reduction", "mean", "--html", "--output", str(tmp_path)]
    assert main(["attend", str(tiny_checkpoint), *map(str, photos), *asked]) == 0
    browser.open(tmp_path / "index.html")
    texts = browser.evaluate(READINGS)
    scores = {
        "deletion (mean)": [text["deletion"]["mean"] for text in texts],
        "below chance (mean)": [
            text["deletion"]["by chance"] - text["deletion"]["mean"] for text in texts
        ],
        "mean probability": [fmean(text["probabilities"]) for text in texts],
    }
    directed = [f"{name} {way}" for name in scores for way in ("down", "up")]
    options = "[...document.querySelector('#sort').options].map(option => option.value)"
    assert browser.evaluate(options) == ["", "title", *directed]
    for name, values in scores.items():
        for way, sign in (("up", 1), ("down", -1)):
            browser.choose("#sort", f"{name} {way}")
            titles = browser.evaluate(TITLES)
            order = [[photo.name for photo in photos].index(title) for title in titles]
            assert sorted(order) == [0, 1, 2, 3]
            steps = [sign * (values[b] - values[a]) for a, b in pairwise(order)]
            assert min(steps) > -1e-4  # to which the page's numbers are rounded
        shown = browser.text("#thumbnails .note")
        assert shown == f"{photos[order[0]].name}{name} {values[order[0]]:.2f}"
    assert browser.complaints == []


def test_an_image_is_opened_left_and_linked(show):
    page = show(many(4))
    page.click("#thumbnails li:nth-child(2) a")
    assert page.text("#name") == "2.jpg"
    assert page.text("#place") == "image 2 of 4"
    page.press("ArrowRight")
    page.choose("#layer", "1")
    assert page.evaluate("location.hash") == "#image=2&text=1&word=2&map=layer-1"
    page.evaluate("document.activeElement.blur()")
    page.press("Escape")
    assert page.evaluate("document.querySelector('#detail').hidden")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#image=2"
    page.press("Enter")
    page.click("#next")
    assert page.text("#name") == "3.jpg"
    page = show(many(4), address="#image=4&word=3&map=rollout")
    assert (page.text("#name"), page.text(SELECTED)) == ("4.jpg", "runs")
    assert page.evaluate("document.querySelector('#reduction').value") == "rollout"
    page = show(many(4), address="#image=99&word=-4&map=nothing")
    assert (page.text("#name"), page.text(SELECTED)) == ("4.jpg", "a")


def test_html_in_captions_is_shown_as_text(show):
    page = show(many(3))
    assert page.text("#thumbnails li:nth-child(3) .said") == f"a {EVIL} runs"
    page.click("#thumbnails li:nth-child(3) a")
    page.press("ArrowRight")
    assert page.text(SELECTED) == EVIL
    assert f"“{EVIL}”" in page.text("#status")
    assert page.evaluate("document.querySelectorAll('b').length") == 0
