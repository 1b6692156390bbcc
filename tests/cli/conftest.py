"""Fixtures of the tests of the command."""

from collections.abc import Iterator

import pytest
from served import Server, serve
from ten_photos import ARCHIVES


@pytest.fixture
def server() -> Iterator[Server]:
    """A place that has the archives of ten photos."""
    with serve() as running:
        running.files |= {f"/m/{name}": content for name, content in ARCHIVES.items()}
        yield running
