"""Parts of a model as plain strings and numbers, and parts from those again.

Only classes of this package are ever made from a description.
"""

import importlib
import inspect
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, TypeVar

from torch import nn

from vlm.decoding import Strategy
from vlm.errors import InputError
from vlm.models.answer_heads import AnswerHead
from vlm.models.decoder import TextDecoder
from vlm.training.objectives import Objective

PACKAGE = "vlm."
# Parts of a network, what kind each is, and what of it follows from backbone, text and answers.
PARTS: dict[str, tuple[type, tuple[str, ...]]] = {
    "encoder": (nn.Module, ("region_width",)),
    "decoder": (TextDecoder, ("vocabulary_size",)),
    "head": (AnswerHead, ("width", "answers")),
}
SETTINGS: dict[str, type] = {
    "objective": Objective,
    "decoding": Strategy,
    "answer_decoding": Strategy,
}
Part = TypeVar("Part")


def describe(part: Any, *, without: Collection[str] = ()) -> Any:
    """A part as ``{"class_path": ..., "init_args": {...}}``, plain values as they are.

    Every part of this package keeps what it was made with under the names of its
    constructor's arguments; that convention is all there is to it.

    Args:
        part: to describe.
        without: arguments that are left out.
    """
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, list | tuple):
        return [describe(item) for item in part]
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    kind = type(part)
    names = [name for name in inspect.signature(kind).parameters if name not in without]
    arguments = {name: describe(getattr(part, name)) for name in names}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}


def rebuild(description: Any, expected: type[Part], *given: Any) -> Part:
    """The part that a description describes.

    Args:
        description: from :func:`describe`.
        expected: class that the part must be of.
        given: its first arguments, where the description leaves them out.

    Raises:
        InputError: if the class is not one of this package or not of the expected kind.
    """
    kind = class_of(description["class_path"])
    if not issubclass(kind, expected):
        raise InputError(f"expected a {expected.__name__} in the checkpoint, found {kind.__name__}")
    arguments = description["init_args"].items()
    return kind(*given, **{name: _rebuilt(value) for name, value in arguments})


def arguments(recipe: dict[str, Any]) -> dict[str, Any]:
    """What a module is made with beside its text and its backbone.

    Raises:
        InputError: if a part is not of the kind it has to be.
    """
    found: dict[str, Any] = {}
    for name, description in recipe["parts"].items():
        kind = PARTS[name][0]
        found[name] = partial(rebuild, description, kind)
    for name, value in recipe["settings"].items():
        described = isinstance(value, Mapping) and name in SETTINGS
        found[name] = rebuild(value, SETTINGS[name]) if described else _rebuilt(value)
    return found


def class_of(path: str) -> type:
    """The class of this package that a path names, by whichever of its public names.

    Raises:
        InputError: if it is anything else; nothing foreign is made from a file.
    """
    module, _, name = path.rpartition(".")
    try:
        known = importlib.import_module(module) if path.startswith(PACKAGE) else None
    except ImportError:
        known = None
    kind = getattr(known, name, None)
    if not (inspect.isclass(kind) and kind.__module__.startswith(PACKAGE)):
        raise InputError(f"the checkpoint asks for {path}, which is no class of vlm")
    return kind


def _rebuilt(value: Any) -> Any:
    """A plain value as it is, a described part as the part, wherever it stands."""
    if isinstance(value, list):
        return [_rebuilt(item) for item in value]
    described = isinstance(value, Mapping) and "class_path" in value
    return rebuild(value, object) if described else value
