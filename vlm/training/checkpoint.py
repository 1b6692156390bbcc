"""What a checkpoint of ours holds beside Lightning's own, and a module made again from it.

A checkpoint is Lightning's, with one section more. It is read with
``weights_only=True``, and only classes of this package are ever made from it.
"""

import inspect
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import nn

from vlm import __version__
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.models.backbone import LOCAL_DIR, FrozenBackbone
from vlm.models.imported import ImportedRegions
from vlm.training.recipe import PARTS, class_of, describe, rebuild

SECTION = "vlm"
FORMAT = 4


def section(module: Any, data: Any) -> dict[str, Any]:
    """What a checkpoint says of a module, beside Lightning's own entries.

    Args:
        module: a :class:`vlm.training.module.VisionLanguageModule`.
        data: the data module it was trained on, if any.
    """
    backbone: FrozenBackbone | ImportedRegions = module.backbone
    names = [*inspect.signature(type(module)).parameters]
    parts = {name: getattr(module.network, name) for name in names if name in PARTS}
    apart = {"tokenizer", "answers", "backbone", *PARTS}
    return {
        "format": FORMAT,
        "version": __version__,
        "task": type(module).__module__ + "." + type(module).__qualname__,
        "tokenizer": module.tokenizer.definition,
        "answers": list(module.answering.answers) if "answers" in names else None,
        "backbone": describe(backbone)
        | {"hash": backbone.hash, "architecture": backbone.architecture},
        "backbone_weights": None if backbone.public else backbone.travelling(),
        "parts": {name: describe(part, without=PARTS[name][1]) for name, part in parts.items()},
        "temperature": module.answering.temperature if "answers" in names else None,
        "settings": {name: describe(getattr(module, name)) for name in names if name not in apart},
        "boxes": module.boxes,
        "data": None if data is None else describe(data),
    }


def read(path: str | Path) -> dict[str, Any]:
    """A checkpoint's whole content, on the CPU.

    Raises:
        InputError: if the file is missing, not a checkpoint, not one of ours, or newer.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"checkpoint {path} is a folder; give a file that `vlm fit` wrote")
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist; check the path")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a different one for every kind of damage
        raise InputError(
            f"{path} is not a checkpoint that can be read; it is another kind of file, or cut off: "
            "give one that `vlm fit` wrote"
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
