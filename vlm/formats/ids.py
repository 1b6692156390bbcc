"""Ids of images and questions: doubled ones refused, digit strings taken for their number."""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard, TypeVar

from vlm.errors import InputError

Id = int | str
Value = TypeVar("Value")

SHOWN = 5


def is_id(value: object) -> TypeGuard[Id]:
    """Whether it can name an image or a question: a whole number or a text, no empty one."""
    return isinstance(value, int | str) and not isinstance(value, bool) and value != ""


def shown(ids: Sequence[Hashable]) -> str:
    """The first ids for people, and how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(str(key) for key in ids[:SHOWN]) + more


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

    Programs write the image 42 also as ``"42"`` or ``"000000000042"``, and the other way
    round. An id that is not listed in any of these spellings, or in several, stays as it is.

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
    return (text.lstrip("0") or "0") if text.isascii() and text.isdigit() else None
