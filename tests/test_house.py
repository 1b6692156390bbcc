"""The laws of the house: imports go down only, --help is light, files stay small."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "vlm"
FLOORS = {
    "cli": 4,
    "training": 3,
    "explain": 2,
    "extract": 2,
    "baselines": 2,
    "models": 1,
    "data": 1,
    "metrics": 1,
    "decoding": 1,
    "regions": 0,
    "text": 0,
    "formats": 0,
    "errors": 0,
    "files": 0,
    "disk": 0,
}
STRANGERS = {"models", "data", "metrics", "decoding"}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(module: str) -> str:
    """The room of ``vlm.room.file``."""
    return module.split(".")[1]


def imported(source: Path) -> set[str]:
    """The vlm modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= set(names) if node.module == "vlm" else {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("vlm.") and "__version__" not in name}


def test_every_file_is_on_a_floor():
    rooms = {source.relative_to(PACKAGE).parts[0].removesuffix(".py") for source in SOURCES}
    assert rooms - {"__init__", "__main__"} == set(FLOORS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_and_strangers_do_not_meet(source: Path):
    here = source.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if here in ("__init__", "__main__"):
        return
    for module in imported(source):
        there = room(module)
        assert FLOORS[there] <= FLOORS[here], f"{source.name} imports {module}, a floor above"
        if here in STRANGERS and there in STRANGERS:
            assert here == there, f"{source.name} imports {module}: strangers"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_one_thing(source: Path):
    assert source.name not in {"utils.py", "misc.py", "common.py", "helpers.py", "base.py"}
    assert len(source.read_text().splitlines()) <= 300


def loaded_by(code: str) -> set[str]:
    """The top-level modules in a fresh process after some code."""
    script = (
        f"{code}\nimport sys; print('|'.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.strip().splitlines()[-1].split("|"))


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import vlm.cli; vlm.cli.main(['--help'])", {"torch", "numpy", "lightning", "argparse"}),
        ("import vlm.metrics, vlm.text.ptb", {"torch", "lightning", "timm"}),
    ],
)
def test_heavy_imports_follow_the_floors(code: str, absent: set[str]):
    assert not loaded_by(code) & absent


def names_of(tree: str) -> set[str]:
    """What a drawn tree names, one entry a line."""
    return {line.split()[0].rstrip("/") for line in tree.splitlines() if line.strip()}


def test_the_trees_are_those_that_there_are():
    """The README shows the rooms, docs/tree.md every file in them."""
    readme = (ROOT / "README.md").read_text().split("## The tree", 1)[1].split("```", 2)[1]
    whole = names_of((ROOT / "docs" / "tree.md").read_text().split("```", 2)[1])
    inside = [path.relative_to(PACKAGE) for path in SOURCES if not path.name.startswith("__")]
    rooms = {path.relative_to(PACKAGE).parts[0] for path in SOURCES if path.parent != PACKAGE}
    rooms |= {path.name for path in inside if len(path.parts) == 1}
    inner = {path.parts[1] for path in inside if len(path.parts) > 2}
    files = {path.name for path in inside if len(path.parts) == 2 and path.parts[0] != "decoding"}
    assert names_of(readme) == rooms | {"vlm", "configs", "scripts", "tests"}
    assert whole == rooms | inner | files | {"vlm"}


def test_no_placeholder_is_left_in_a_page():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) >= 6
    for file in pages:
        assert "@@" not in file.read_text(), f"{file.name} has a placeholder"


def test_pages_that_are_linked_are_there():
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / link).exists(), f"{file.name} links {link}"
