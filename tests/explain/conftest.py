"""A browser for the tests of this folder."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser

from vlm.explain.viewer import Viewed, viewer


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no program chromium; apt install chromium")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path):
    """Opens a page of entries, and sees to it that nothing was complained of or fetched."""

    def opened(entries: list[Viewed], **options) -> Browser:
        path = tmp_path / "page.html"
        path.write_text(viewer("Maps", entries), encoding="utf-8")
        browser.open(path, **options)
        return browser

    yield opened
    assert browser.complaints == []
    assert [address.split("#")[0] for address in browser.requests] == [
        (tmp_path / "page.html").as_uri()
    ]
