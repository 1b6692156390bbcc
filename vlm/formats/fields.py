"""The fields of records in a JSON file: one that is missing or of another type told in words."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from vlm.errors import InputError
from vlm.formats.ids import Id, as_id

NAMES_OF_IDS = ("id", "question_id", "image_id")


class Records(NamedTuple):
    """The entries of a list in a JSON file; what is wrong with one is looked for only if one is.

    Attributes:
        file: that they are from.
        name: of the list, as sentences have it.
        rows: anything that JSON can be.
    """

    file: Path
    name: str
    rows: Sequence[Any]

    def values(self, field: str) -> list[Any]:
        """One field of all records.

        Raises:
            InputError: naming an entry that is no object, or does not have the field.
        """
        try:
            return [row[field] for row in self.rows]
        except (KeyError, TypeError) as error:
            wrong = [n for n, row in enumerate(self.rows, start=1) if not _has(row, field)]
            row, others = self.rows[wrong[0] - 1], _others(wrong)
            if isinstance(row, dict):
                problem = f"{self._entry(wrong[0])} has no '{field}'; add it{others}"
            else:
                problem = (
                    f"{self._entry(wrong[0])} is {brief(row)}, not an object with '{field}'; "
                    f"correct it{others}"
                )
            raise InputError(f"{self.file}: {problem}") from error

    def ids(self, field: str) -> list[Id]:
        """A field that is an id in all records.

        Raises:
            InputError: naming an entry where it is none.
        """
        values = self.values(field)
        if set(map(type, values)) <= {int, str} and "" not in values:
            return values
        ids = [as_id(value) for value in values]
        self._refuse(field, "a whole number or a text", [key is not None for key in ids])
        return [key for key in ids if key is not None]

    def texts(self, field: str) -> list[str]:
        """A field that is a text in all records.

        Raises:
            InputError: naming an entry where it is none.
        """
        return self.checked_texts(field, self.values(field))

    def checked_texts(self, field: str, values: list[Any]) -> list[str]:
        """The values of a field, where some entries may have had a default.

        Raises:
            InputError: naming an entry whose value is no text.
        """
        if not are_texts(values):
            self._refuse(field, "text", [is_text(value) for value in values])
        return values

    def lists(self, field: str) -> list[list[Any]]:
        """A field that is a list in all records.

        Raises:
            InputError: naming an entry where it is none.
        """
        values = self.values(field)
        if not set(map(type, values)) <= {list}:
            self._refuse(field, "a list", [isinstance(value, list) for value in values])
        return values

    def _refuse(self, field: str, expected: str, fits: Sequence[bool]) -> None:
        """Names the first entry whose field does not fit, if there is one."""
        wrong = [number for number, fit in enumerate(fits, start=1) if not fit]
        if wrong:
            got = brief(self.rows[wrong[0] - 1].get(field))
            raise InputError(
                f"{self.file}: expected {expected} as '{field}' of {self._entry(wrong[0], field)}, "
                f"got {got}; correct it{_others(wrong)}"
            )

    def _entry(self, number: int, field: str = "") -> str:
        """An entry, from 1, with an id that it has besides the field."""
        row = self.rows[number - 1]
        for name in NAMES_OF_IDS:
            if name != field and _has(row, name) and as_id(row[name]) is not None:
                return f"entry {number} of {self.name} ({name} {brief(row[name])})"
        return f"entry {number} of {self.name}"


def records(file: Path, tree: Any, name: str, *, form: str) -> Records:
    """The entries of a list that an object holds.

    Args:
        file: that the object is read from.
        tree: the object.
        name: of the list.
        form: what was expected of the file, for people.

    Raises:
        InputError: if there is no such list.
    """
    if name not in tree:
        raise InputError(f"{file} has no '{name}'; {form}")
    if not isinstance(tree[name], list):
        raise InputError(f"{file} has {brief(tree[name])} as '{name}' and no list; {form}")
    return Records(file, f"'{name}'", tree[name])


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string without half a surrogate pair, which no file can hold."""
    if not isinstance(value, str):
        return False
    return value.isascii() or not re.search("[\ud800-\udfff]", value)


def are_texts(values: Iterable[Any]) -> bool:
    """Whether all are."""
    try:
        return is_text("".join(values))
    except TypeError:
        return False


def brief(value: Any) -> str:
    """A value for people: null, a number or text as JSON has it, the kind of others."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False)
    return (text if text.isprintable() else json.dumps(value))[:60]


def _has(row: Any, field: str) -> bool:
    return isinstance(row, dict) and field in row


def _others(wrong: Sequence[int]) -> str:
    return f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
