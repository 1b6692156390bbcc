"""A config of ``vlm fit``: the files that it names, before a training finds out."""

import difflib
import importlib
import inspect
from collections.abc import Iterator, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
import yaml
from torch import nn

from vlm.cli.doctor.backbone import IMPORTED, examine_backbone, weight_file
from vlm.cli.doctor.finding import Finding, fail, guarded, ok, refused, warn
from vlm.cli.doctor.machine import room
from vlm.cli.doctor.prepared import apart
from vlm.cli.doctor.store import can_be_opened, examine_store
from vlm.cli.login import has_wandb_login
from vlm.data import CaptionData
from vlm.data.augmentation import RandAugment
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.files import read_text
from vlm.formats.captions import CaptionSample
from vlm.models.backbone import FrozenBackbone
from vlm.models.imported import ImportedRegions
from vlm.models.timm_source import LOCAL_DIR, absolute
from vlm.training.checkpoint import rebuild

Tree = dict[str, Any]
ANY = inspect.Parameter.VAR_KEYWORD


def examine_config(files: Sequence[Path], *, full: bool) -> Iterator[Finding]:
    """What a training by this config would need, looked for without starting one.

    Args:
        files: each laid over those before it.
        full: whether the store's bytes and the backbone's weights are read.

    Raises:
        InputError: if a file is no YAML of options.
    """
    config = reduce(_laid_over, map(_read, files), {})
    subject = " + ".join(map(str, files))
    data = _arguments(config.get("data"))
    description = _arguments(config.get("model")).get("backbone") or {}
    misspelt = list(_misspelt(config, ""))
    yield from (fail(subject, found, remedy) for found, remedy in misspelt)
    if misspelt:
        return
    run = _run_of(files)
    if config.get("ckpt_path"):
        told = warn if run else fail  # a run that was gone on with is gone on with once more
        yield told(subject, "ckpt_path stands in it", "give it as --ckpt_path FILE")
    here = None
    if description:
        way_out = "give a folder as model.backbone.name local-dir:PATH"
        here = examine_backbone(f"{subject}, model.backbone", description, way_out=way_out)
        yield here
    store = None
    if data.get("store"):
        place = f"{subject}, data.store"
        yield from guarded(place, _store(place, _arguments(data["store"]), config, full=full))
        store = _opened(_arguments(data["store"]))
        if store is not None and description:
            built = full and here is not None and here.status == "ok"
            yield _fits(place, store, description, built=built)
    path = _arguments(data.get("store")).get("path")
    # A store that is not there yet will be made of the photos; a damaged one stands for them.
    photos = not path or not Path(str(path)).exists()
    if "data" in config:
        yield from _data(subject, data, store, photos=photos)
    else:
        remedy = "give the config that it is laid over before it: --config FIRST --config THIS"
        yield fail(subject, "names no data", remedy)
    yield _output(subject, config, run)
    accelerator = _of(config, "trainer", "accelerator")
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        place = f"{subject}, trainer.accelerator"
        yield fail(place, f"{accelerator} asks for a GPU, torch sees none", "make it auto or cpu")
    if "WandbLogger" in str(_of(config, "trainer", "logger")):
        state = "are online" if has_wandb_login() else "stay offline, vlm finds no login"
        yield ok(f"{subject}, trainer.logger", f"runs log to wandb and {state}")


# --- Reading ---------------------------------------------------------------------------------


def _read(file: Path) -> Tree:
    try:
        tree = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{file}{place} is not YAML; correct it") from error
    if not isinstance(tree, dict):
        raise InputError(f"{file} holds no options; give a config as those under configs/ are")
    return tree


def _laid_over(below: Tree, above: Tree) -> Tree:
    """Options of two configs, the second's where both have them; another class starts anew."""
    if below.get("class_path", "") != above.get("class_path", below.get("class_path", "")):
        below = {}
    both = dict(below)
    for name, value in above.items():
        old = below.get(name)
        nested = isinstance(old, dict) and isinstance(value, dict)
        both[name] = _laid_over(cast("Tree", old), value) if nested else value
    return both


def _of(tree: Any, *names: str) -> Any:
    """What stands under names; None where one of them is not there."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _arguments(part: Any) -> Tree:
    """What a part is made with, whether or not its class is named."""
    if not isinstance(part, dict):
        return {}
    inner = part.get("init_args") if "class_path" in part else part
    return inner if isinstance(inner, dict) else {}


def _misspelt(tree: Any, place: str) -> Iterator[tuple[str, str]]:
    """Classes and options that are not there, each with its remedy."""
    if isinstance(tree, list):
        for number, part in enumerate(tree):
            yield from _misspelt(part, f"{place}.{number}")
    if not isinstance(tree, dict):
        return
    if isinstance(tree.get("class_path"), str):
        yield from _of_class(tree, place)
    if not place:
        yield from _unknown(_arguments(tree.get("trainer")), L.Trainer, "trainer")
    for name, part in tree.items():
        yield from _misspelt(part, f"{place}.{name}".removeprefix("."))


def _of_class(part: Tree, place: str) -> Iterator[tuple[str, str]]:
    module, _, name = part["class_path"].rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name, None) if module else None
    except ImportError:
        kind = None
    if kind is None and module:
        remedy = "correct the class_path, or install its package"
        yield f"{place}: there is no class {part['class_path']}", remedy
    elif kind is not None:
        yield from _unknown(_arguments(part), kind, place)


def _unknown(given: Tree, kind: Any, place: str) -> Iterator[tuple[str, str]]:
    known = inspect.signature(kind).parameters
    if any(parameter.kind is ANY for parameter in known.values()):
        return
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"{kind.__name__} has {[*known]}"
            yield f"there is no option {place}.{name}", remedy


# --- Files -----------------------------------------------------------------------------------


def _data(
    subject: str, data: Tree, store: FeatureStore | None, *, photos: bool
) -> Iterator[Finding]:
    """Captions and images of every split, read by what training reads them with."""
    named = data.get("annotations")
    splits = list(named) if isinstance(named, dict) else ["train", "val"]
    splits = list(dict.fromkeys(["train", "val", *splits]))
    try:
        module = CaptionData(
            named,
            data.get("images", "."),
            root=data.get("root", "."),
            store=store,
            augmentation=RandAugment() if data.get("augmentation") else None,
        )
    except InputError as error:
        yield refused(f"{subject}, data", error)
        return
    found: dict[str, list[CaptionSample]] = {}
    for split in splits:
        place = f"{subject}, data.annotations.{split}"
        try:
            found[split] = module.samples(split)
            if photos or store is not None:
                module.check_images(split)
        except InputError as error:
            yield refused(place, error)
            continue
        captions = sum(len(sample.captions) for sample in found[split])
        more = ", all in the store" if store else ", all can be read" if photos else ""
        yield ok(place, f"{len(found[split]):,} images{more}, {captions:,} captions")
    yield from apart(f"{subject}, data", found)


def _store(place: str, arguments: Tree, config: Tree, *, full: bool) -> Iterator[Finding]:
    """The store itself, or the command that makes it."""
    path = Path(str(arguments.get("path")))
    if not path.is_dir():
        yield fail(place, f"store {path} does not exist", f"make it: {_command(config, arguments)}")
        return
    for finding in examine_store(path, full=full):
        yield finding._replace(subject=place)
    if can_be_opened(path):
        FeatureStore(path, views=arguments.get("views", 1))


def _opened(arguments: Tree) -> FeatureStore | None:
    """The store, if it can be had; why not is told elsewhere."""
    path = Path(str(arguments.get("path")))
    try:
        whole = can_be_opened(path)
        return FeatureStore(path, views=arguments.get("views", 1)) if whole else None
    except InputError:
        return None


def _command(config: Tree, store: Tree) -> str:
    """The ``vlm extract`` whose store a config asks for."""
    data = _arguments(config.get("data"))
    backbone = _arguments(_of(config, "model", "init_args", "backbone"))
    size = backbone.get("image_size")
    sizes = [size] if isinstance(size, int) else size or []
    options = {
        "--images": [Path(data.get("root", "."), data.get("images", "."))],
        "--backbone": [backbone.get("name", "NAME")],
        "--weights": [backbone["weights"]] if backbone.get("weights") else [],
        "--image-size": sizes,
        "--output": [store.get("path")],
        "--views": [store["views"]] if store.get("views", 1) > 1 else [],
    }
    pairs = [f"{name} {' '.join(map(str, values))}" for name, values in options.items() if values]
    return f"vlm extract {' '.join(pairs)}"


def _fits(place: str, store: FeatureStore, description: Tree, *, built: bool) -> Finding:
    """Whether the config's backbone made the store, as far as names tell or by its weights."""
    arguments, manifest = _arguments(description), store.manifest
    name = absolute(str(arguments.get("name")))
    if built or description["class_path"].endswith(IMPORTED):
        file = weight_file(arguments) if built and arguments.get("pretrained", True) else None
        fetched = {"weights": str(file)} if file and not name.startswith(LOCAL_DIR) else {}
        seen = rebuild(description | {"init_args": arguments | fetched}, nn.Module)
        backbone = cast("FrozenBackbone | ImportedRegions", seen)
        try:
            store.require(backbone.name, backbone.hash, backbone.geometry)
        except InputError as error:
            return refused(place, error)
        return ok(place, f"was made by the model's backbone {name!r} ({backbone.hash})")
    size = arguments.get("image_size")
    height, width = (size, size) if isinstance(size, int) else size or (None, None)
    if _folder_name(manifest.backbone) != _folder_name(name):
        told = f"was made by backbone {manifest.backbone!r}, the model has {name!r}"
        return warn(place, told, "extract a store with that one, or let --full compare weights")
    if height and not manifest.geometry.startswith(f"{height}x{width} "):
        told = f"was made from images of {manifest.geometry}, the model takes {height}x{width}"
        return fail(place, told, "extract a store with that size")
    return ok(place, f"was made by a backbone of the name {name!r} (--full compares weights)")


def _folder_name(name: str) -> str:
    """A backbone's name without the place of its folder, which differs between machines."""
    return Path(name.removeprefix(LOCAL_DIR)).name if name.startswith(LOCAL_DIR) else name


def _run_of(files: Sequence[Path]) -> Path | None:
    """The folder of the run whose own config is among the files; None where none is."""
    folders = [file.parent for file in files if file.name == "config.yaml"]
    return next((folder for folder in folders if (folder / "checkpoints").is_dir()), None)


def _output(subject: str, config: Tree, run: Path | None) -> Finding:
    """Where the run will write."""
    folder = Path(str(config.get("output") or "runs"))
    place = f"{subject}, output"
    if run is not None and folder.resolve() == run.resolve():
        there = sorted((run / "checkpoints").glob("*.ckpt"))
        last = next((file for file in there if file.stem == "last"), there[0] if there else "FILE")
        remedy = f"go on with it by --ckpt_path {last}, or give another --output"
        return warn(place, f"{folder} holds a run already, this config's own", remedy)
    if config.get("output") and (folder / "checkpoints").exists():
        remedy = "give another --output, or go on with its checkpoint by --ckpt_path"
        return fail(place, f"{folder} holds a run already", remedy)
    if folder.is_file():
        return fail(place, f"{folder} is a file", "give another --output")
    return room(place, folder, remedy="give --output on another disk, or make room")
