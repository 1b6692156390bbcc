"""What kind of file of the field a JSON value is from, told by what it holds."""

from pathlib import Path
from typing import Any

from vlm.errors import InputError
from vlm.formats.fields import brief

CAPTIONS = "a COCO captions file"
INSTANCES = "a COCO instances file"
QUESTIONS = "a VQA questions file"
ANSWERS = "a VQA annotations file"
SIGNS = {"question_id": ANSWERS, "caption": CAPTIONS, "category_id": INSTANCES}


def require_kind(file: Path, tree: Any, kind: str, *, name: str, sign: str, form: str) -> None:
    """Holds that an object is not of another kind, as far as its fields tell.

    Args:
        file: that the object is read from.
        tree: anything that JSON can be.
        kind: one of those above.
        name: of the list in it.
        sign: a field that the list's entries have in this kind alone.
        form: what is expected of the file, for people.

    Raises:
        InputError: saying what kind it is.
    """
    rows = tree.get(name) if isinstance(tree, dict) else None
    if isinstance(rows, list) and any(isinstance(row, dict) and sign in row for row in rows):
        return
    found = kind_of(tree)
    if found not in (kind, ""):
        raise InputError(f"{file} is {found}, not {kind}; {form}")


def kind_of(tree: Any) -> str:
    """What a value is for people; empty for an object that has no sign of any kind."""
    if isinstance(tree, list):
        return "a list of results" if _fields(tree) & {"image_id", "question_id"} else "a list"
    if not isinstance(tree, dict):
        return f"a single value, {brief(tree)}"
    if "questions" in tree:
        return QUESTIONS
    fields = _fields(tree.get("annotations"))
    other = "a file of other annotations" if fields else ""
    return next((kind for sign, kind in SIGNS.items() if sign in fields), other)


def _fields(rows: Any) -> set[str]:
    """The fields that any entry has."""
    there = rows if isinstance(rows, list) else []
    return {field for row in there if isinstance(row, dict) for field in row}
