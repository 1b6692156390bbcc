"""Our rebuild recipe: plain strings and numbers that make a module again from its file.

A checkpoint is Lightning's, with one section more. It is read with
``weights_only=True``, and only classes of this package are ever made from it.
"""

import importlib
import inspect
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import safetensors.torch
import torch
from torch import nn

from vlm import __version__
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.models.backbone import LOCAL_DIR, FrozenBackbone
from vlm.models.imported import ImportedRegions

SECTION = "vlm"
FORMAT = 2
PACKAGE = "vlm."
Part = TypeVar("Part")


def describe(part: Any) -> Any:
    """A part as ``{"class_path": ..., "init_args": {...}}``, plain values as they are.

    Every part of this package keeps what it was made with under the names of its
    constructor's arguments; that convention is all there is to it.
    """
    if part is None or isinstance(part, bool | int | float | str):
        return part
    if isinstance(part, list | tuple):
        return [describe(item) for item in part]
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    kind = type(part)
    names = inspect.signature(kind).parameters
    arguments = {name: describe(getattr(part, name)) for name in names}
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}


def rebuild(description: Any, expected: type[Part]) -> Part:
    """The part that a description describes.

    Args:
        description: from :func:`describe`.
        expected: class that the part must be of.

    Raises:
        InputError: if the class is not one of this package or not of the expected kind.
    """
    kind = class_of(description["class_path"])
    if not issubclass(kind, expected):
        raise InputError(f"expected a {expected.__name__} in the checkpoint, found {kind.__name__}")
    arguments = description["init_args"].items()
    return kind(**{name: _rebuilt(value) for name, value in arguments})


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
    """A plain value as it is, a described part as the part."""
    described = isinstance(value, Mapping) and "class_path" in value
    return rebuild(value, object) if described else value


def section(module: Any, data: Any) -> dict[str, Any]:
    """What a checkpoint says of a module, beside Lightning's own entries.

    Args:
        module: a :class:`vlm.training.captioning.CaptioningModule`.
        data: the data module it was trained on, if any.
    """
    backbone: FrozenBackbone | ImportedRegions = module.backbone
    parts = ("objective", "decoding", "learning_rate", "weight_decay", "warmup", "seed")
    return {
        "format": FORMAT,
        "version": __version__,
        "task": type(module).__module__ + "." + type(module).__qualname__,
        "tokenizer": module.tokenizer.definition,
        "backbone": describe(backbone)
        | {"hash": backbone.hash, "architecture": backbone.architecture},
        "backbone_weights": None if backbone.public else backbone.travelling(),
        "encoder": describe(module.captioner.encoder),
        "decoder": describe(module.captioner.decoder),
        "settings": {name: describe(getattr(module, name)) for name in parts},
        "boxes": module.boxes,
        "data": None if data is None else describe(data),
    }


def read(path: str | Path) -> dict[str, Any]:
    """A checkpoint's whole content, on the CPU.

    Raises:
        InputError: if the file is missing, not a checkpoint, not one of ours, or newer.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different one for every kind of damage
        raise InputError(
            f"{path} is not a checkpoint that can be read; it is another kind of file, or cut off"
        ) from error
    if not isinstance(content, dict) or SECTION not in content:
        raise InputError(f"{path} is not a checkpoint of vlm; give one that `vlm fit` wrote")
    recipe = content[SECTION]
    if not isinstance(recipe, dict) or not isinstance(recipe.get("format"), int):
        raise InputError(f"{path} has a recipe that cannot be read; train it anew")
    if recipe["format"] < FORMAT:
        raise InputError(
            f"{path} has format {recipe['format']} of an earlier vlm, this one reads {FORMAT}; "
            "train it anew"
        )
    if recipe["format"] > FORMAT:
        raise InputError(
            f"{path} has format {recipe['format']}, this vlm reads {FORMAT}; install a newer vlm"
        )
    if "hyper_parameters" in content:  # Lightning would let them make whatever they name
        raise InputError(f"{path} holds hyperparameters, which no vlm writes; do not trust it")
    class_of(recipe["task"])
    _require_own_classes(recipe)
    return content


def _require_own_classes(value: Any) -> None:
    """Refuses a recipe that names a foreign class, however deep."""
    if isinstance(value, Mapping):
        if "class_path" in value:
            class_of(value["class_path"])
        for part in value.values():
            _require_own_classes(part)
    elif isinstance(value, list):
        for part in value:
            _require_own_classes(part)


def backbone_description(recipe: dict[str, Any], replacement: str | None = None) -> dict[str, Any]:
    """How to make the checkpoint's backbone here and now.

    Weights that travelled in the checkpoint are laid out once, in timm's local-dir
    layout, in a cache folder named by their hash.

    Args:
        recipe: the checkpoint's section.
        replacement: a folder in local-dir layout or a weight file, to be used instead.
    """
    arguments = dict(recipe["backbone"]["init_args"])
    if replacement is not None and Path(replacement).is_dir():
        arguments |= {"name": LOCAL_DIR + replacement, "weights": None, "pretrained": True}
    elif replacement is not None:
        if arguments["name"].startswith(LOCAL_DIR):
            arguments["name"] = recipe["backbone"]["architecture"]
        arguments |= {"weights": replacement, "pretrained": True}
    elif recipe["backbone_weights"] is not None:
        arguments |= {"name": LOCAL_DIR + str(_unpack(recipe)), "weights": None, "pretrained": True}
    return {"class_path": recipe["backbone"]["class_path"], "init_args": arguments}


def check_backbone(backbone: FrozenBackbone | ImportedRegions, recipe: dict[str, Any]) -> None:
    """Holds a backbone against the one a checkpoint was trained with.

    Raises:
        InputError: naming both, if their weights differ.
    """
    expected, name = recipe["backbone"]["hash"], recipe["backbone"]["init_args"]["name"]
    if backbone.hash != expected:
        raise InputError(
            f"backbone {backbone.name!r} has weights {backbone.hash}, but the checkpoint was "
            f"trained with {name!r} of weights {expected}; give those with --backbone PATH"
        )


STORE_REMEDY = (
    "give a store of that kind by --data.store vlm.data.FeatureStore --data.store.path STORE"
)


def check_boxes(store: FeatureStore | None, recipe: dict[str, Any]) -> None:
    """Holds the regions to be read against the kinds of regions a checkpoint was trained on.

    Raises:
        InputError: if boxes stood beside the grid in one of them alone.
    """
    trained, given = recipe["boxes"], "" if store is None else store.manifest.boxes
    if bool(trained) != bool(given):
        without = "the checkpoint was trained on a grid alone, the store has boxes beside it"
        told = f"the checkpoint was trained on boxes beside the grid ({trained}), here are none"
        raise InputError(f"{told if trained else without}; {STORE_REMEDY}")


def load_backbone(
    recipe: dict[str, Any], replacement: str | None = None
) -> FrozenBackbone | ImportedRegions:
    """The backbone of a checkpoint, from its public source or from the checkpoint itself.

    Raises:
        InputError: if the source is gone or holds other weights.
    """
    try:
        description = backbone_description(recipe, replacement)
        backbone = cast("FrozenBackbone | ImportedRegions", rebuild(description, nn.Module))
    except InputError as error:
        raise backbone_is_gone(recipe, error) from error
    check_backbone(backbone, recipe)
    return backbone


def backbone_is_gone(recipe: dict[str, Any], error: InputError) -> InputError:
    """The sentence for a checkpoint whose backbone cannot be had, and the way out."""
    name, weights = recipe["backbone"]["init_args"]["name"], recipe["backbone"]["hash"]
    return InputError(
        f"the checkpoint's backbone {name!r} with weights {weights} cannot be had "
        f"({error}); give a folder or file that holds it with --backbone PATH"
    )


def _unpack(recipe: dict[str, Any]) -> Path:
    """Travelled weights in timm's local-dir layout; written once, whole, then found."""
    name = recipe["backbone"]["hash"]
    if not re.fullmatch("[0-9a-f]{16}", name):
        raise InputError(f"the checkpoint's backbone has the hash {name!r}, which is none")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "vlm" / "backbones" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        travelled = recipe["backbone_weights"]
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        safetensors.torch.save_file(travelled["state"], partial / "model.safetensors")
        (partial / "config.json").write_text(json.dumps(travelled["config"]))
        try:
            partial.rename(folder)
        except OSError:  # another process was first, with the same
            shutil.rmtree(partial)
    return folder


def load_state(module: nn.Module, content: dict[str, Any]) -> None:
    """Trained weights into a module made by the recipe.

    Raises:
        InputError: if names or shapes differ, which a whole checkpoint's never do.
    """
    try:
        module.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise InputError(f"the checkpoint's weights do not fit its own recipe ({error})") from error
