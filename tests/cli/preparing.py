"""``vlm prepare`` as the tests run it."""

import pytest

from vlm.cli import main


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["prepare", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["prepare", *arguments]) == 2
    (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "vlm: error: " in line]
    return sentence.partition("vlm: error: ")[2]
