"""Ids of images and questions: doubled ones refused, digit strings taken for their number."""

import json
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

from vlm.errors import InputError

Id = int | str
Value = TypeVar("Value")

SHOWN = 5
LONGEST = 80  # characters of an id that is shown
EXACT = 2**53  # up to here a float holds every whole number


def is_id(value: object) -> TypeGuard[Id]:
    """Whether it can name an image or a question: a whole number or a text, no empty one."""
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def as_id(value: object) -> Id | None:
    """The id that a value is, None where it is none.

    A whole number with a point, which pandas makes of the numbers in a column with gaps, is
    that number; one that is too large to be exact is none.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        return int(value)
    return value if is_id(value) else None


def shown(ids: Sequence[Hashable]) -> str:
    """The first ids for people, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(_spelled(key) for key in ids[:SHOWN]) + more


def _spelled(key: Hashable) -> str:
    text = str(key)
    plain = text.isprintable() and 0 < len(text) <= LONGEST
    return text if plain else json.dumps(text)[:LONGEST]


def who_has(what: str, ids: Sequence[Hashable]) -> str:
    """The beginning of a sentence about some: ``image 7 has``, ``images 7, 9 have``."""
    return f"{what} {shown(ids)} has" if len(ids) == 1 else f"{what}s {shown(ids)} have"


def refuse_doubles(origin: Path, what: str, ids: Iterable[Hashable]) -> None:
    """Holds that no id comes twice.

    Args:
        origin: file that they come from.
        what: they are ids of.
        ids: all of them.

    Raises:
        InputError: naming those that do.
    """
    doubled = [key for key, count in Counter(ids).items() if count > 1]
    if doubled:
        raise InputError(f"{origin} lists {what} ids more than once: {shown(doubled)}; keep one")


def as_listed(given: Mapping[Id, Value], listed: Collection[Id]) -> dict[Id, Value]:
    """The same values under the ids that another file lists them by.

    Programs write the image 42 also as ``"42"``, ``"000000000042"`` or, in tables, ``"42.0"``,
    and the other way round. An id that is not listed in any of these spellings, or in several,
    stays as it is.

    Args:
        given: values by id.
        listed: ids as the other file spells them.

    Raises:
        InputError: if two spellings of one id are given.
    """
    spellings = Counter(_digits(key) for key in set(listed))
    spelled = {_digits(key): key for key in listed if spellings[_digits(key)] == 1}
    spelled.pop(None, None)
    renamed: dict[Id, Value] = {}
    for key, value in given.items():
        new = spelled.get(_digits(key), key)
        if new in renamed:
            raise InputError(f"id {new} is given in two spellings, one being {key!r}; keep one")
        renamed[new] = value
    return renamed


def _digits(key: Id) -> str | None:
    """The number that an id is, without zeros in front; None where it is a name."""
    text = str(key)
    if text.endswith(".0"):
        text = text[:-2]
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else None
