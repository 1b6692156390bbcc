"""Several processes as one: what the first one finds all of them hear, and what none may miss."""

from collections.abc import Callable
from typing import TypeVar, cast

from lightning.fabric import Fabric
from torch import distributed

from vlm.errors import InputError

Found = TypeVar("Found")


def gathered(fabric: Fabric, value: Found) -> list[Found]:
    """What each process brings, by its rank, in all of them."""
    if fabric.world_size == 1:
        return [value]
    values = [value] * fabric.world_size
    distributed.all_gather_object(values, value)
    return values


def in_turn(fabric: Fabric, act: Callable[[], Found]) -> Found:
    """The first process acts, and all of them have what it found.

    Raises:
        InputError: in all of them, if it was raised in the first one.
    """
    told, found = "", cast("Found", None)
    if fabric.is_global_zero:
        try:
            found = act()
        except InputError as error:
            told = str(error)
    told, found = fabric.broadcast((told, found))
    if told:
        raise InputError(told)
    return found


def in_all(fabric: Fabric, make: Callable[[], Found]) -> Found:
    """What every process makes for itself.

    Raises:
        InputError: in all of them, if it was raised in any.
    """
    told, made = "", cast("Found", None)
    try:
        made = make()
    except InputError as error:
        told = str(error)
    if sentences := [sentence for sentence in gathered(fabric, told) if sentence]:
        raise InputError(sentences[0])
    return made
