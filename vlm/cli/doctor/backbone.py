"""A backbone: whether it can be had on this machine without the network."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import timm
from huggingface_hub import constants, try_to_load_from_cache

from vlm.cli.doctor.finding import Finding, fail, ok, warn
from vlm.models.timm_source import LOCAL_DIR

IMPORTED = "ImportedRegions"
WEIGHT_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
)


def examine_backbone(subject: object, description: Mapping[str, Any], *, way_out: str) -> Finding:
    """Whether the weights of a backbone are here; its files are looked for, not read.

    Args:
        subject: that needs it.
        description: its ``class_path`` and ``init_args``.
        way_out: what to do if they are not.
    """
    arguments = description["init_args"]
    name = arguments.get("name")
    if description["class_path"].endswith(IMPORTED):
        return ok(subject, f"reads regions imported as {name!r}, no backbone is needed")
    if not isinstance(name, str):
        return fail(subject, "names no backbone", "give model.backbone.name")
    if not name.startswith((LOCAL_DIR, "hf-hub:")) and not timm.is_model(name):
        remedy = "correct the name, timm.list_pretrained() tells all"
        return fail(subject, f"timm knows no backbone {name!r}", remedy)
    if not arguments.get("pretrained", True):
        return ok(subject, f"backbone {name!r} has random weights, as asked for")
    file = weight_file(arguments)
    if file is not None:
        return ok(subject, f"the weights of backbone {name!r} are here, in {file}")
    if arguments.get("weights") or name.startswith(LOCAL_DIR):
        place = arguments.get("weights") or name.removeprefix(LOCAL_DIR)
        return fail(subject, f"backbone {name!r} is gone, there are no weights in {place}", way_out)
    told = f"the weights of backbone {name!r} are not in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        return fail(subject, f"{told} and HF_HUB_OFFLINE is set", f"unset it, or {way_out}")
    return warn(subject, told, f"connect to the internet once, which fetches them, or {way_out}")


def weight_file(arguments: Mapping[str, Any]) -> Path | None:
    """Where the weights of a backbone are on this machine; None if they are not.

    Args:
        arguments: that ``FrozenBackbone`` is made with.
    """
    if arguments.get("weights"):
        file = Path(arguments["weights"])
        return file if file.is_file() else None
    name: str = arguments["name"]
    if name.startswith(LOCAL_DIR):
        folder = Path(name.removeprefix(LOCAL_DIR))
        if not (folder / "config.json").is_file():
            return None
        there = [folder / file for file in WEIGHT_FILES if (folder / file).is_file()]
        return there[0] if there else None
    return _cached(name)


def _cached(name: str) -> Path | None:
    """The file that an earlier run fetched by the name of a model."""
    files, repository, url = list(WEIGHT_FILES), name.removeprefix("hf-hub:"), ""
    if repository == name:
        config = timm.get_pretrained_cfg(name)
        repository, url = (config.hf_hub_id, config.url) if config else ("", "")
        files += [config.hf_hub_filename] if config and config.hf_hub_filename else []
    repository, _, revision = (repository or "").partition("@")
    for file in files if repository else []:
        found = try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    fetched = home / "hub" / "checkpoints" / PurePosixPath(str(url or "")).name
    return fetched if fetched.is_file() else None
