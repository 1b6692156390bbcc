"""What a checkpoint decides about a run, and what may overrule it."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from vlm.data.datamodules import ImageData
from vlm.errors import InputError
from vlm.training import checkpoint as checkpoints
from vlm.training.recipe import class_of

CONFIG = ("--config", "-c")
FREE = "dropout"
FIXED_OF_DATA = {"vocabulary", "answers"}


def require_source(verb: str, arguments: Sequence[str]) -> None:
    """A fit needs a config even where it goes on; the other verbs need what was trained.

    Raises:
        InputError: if it is not there.
    """
    needed = CONFIG if verb == "fit" else ("--ckpt_path",)
    if not any(argument.startswith((*needed, "--help", "-h")) for argument in arguments):
        hint = "configs/ has some, a run's folder has its own" if verb == "fit" else "of a run"
        raise InputError(f"vlm {verb} needs {needed[0]} FILE, {hint}")


def configs_first(arguments: Sequence[str]) -> list[str]:
    """The same arguments, all configs before all options, which beat them wherever they stand."""
    configs: list[str] = []
    options: list[str] = []
    left = iter(arguments)
    for argument in left:
        whole = [argument, *islice(left, 1)] if argument in CONFIG else [argument]
        (configs if argument.partition("=")[0] in CONFIG else options).extend(whole)
    return configs + options


def lowest_config(recipe: dict[str, Any], backbone: str | None) -> dict[str, Any]:
    """What a checkpoint says of model and data, as a config that any other overrules.

    Args:
        recipe: the checkpoint's section.
        backbone: folder or file that holds its backbone, where the source is gone.
    """
    settings = dict(recipe["settings"])
    config: dict[str, Any] = {"seed_everything": settings.pop("seed")}
    backbone_part = {"backbone": checkpoints.backbone_description(recipe, backbone)}
    arguments = backbone_part | recipe["parts"] | settings
    config["model"] = {"class_path": recipe["task"], "init_args": arguments}
    if recipe["data"] is not None:
        config["data"] = recipe["data"] | {"init_args": _from_here(recipe["data"])}
    return config


def refuse_changes(recipe: dict[str, Any], config: Any) -> None:
    """Holds a run's config against what cannot change on a loaded model.

    Args:
        recipe: the checkpoint's section.
        config: of the run, not instantiated.

    Raises:
        InputError: naming the first option that differs.
    """
    _refuse_other_task(recipe, config)
    model = config.model.init_args
    for part, description in recipe["parts"].items():
        _refuse_other(f"model.{part}", model[part].as_dict(), description)
    trained = recipe["backbone"]["init_args"].get("image_size")  # none where regions are imported
    size = model.backbone.init_args.get("image_size")
    if size is not None and list(size if not isinstance(size, int) else (size, size)) != trained:
        raise _cannot_change("model.backbone.image_size", size, trained)
    if recipe["data"] is not None:
        for name in FIXED_OF_DATA & recipe["data"]["init_args"].keys():
            asked = config.data.init_args[name].as_dict()
            _refuse_other(f"data.{name}", asked, recipe["data"]["init_args"][name])


def _refuse_other_task(recipe: dict[str, Any], config: Any) -> None:
    """A model of one task is not run as one of another, nor on another's data."""
    pairs = [("model", recipe["task"])]
    if recipe["data"] is not None:
        pairs.append(("data", recipe["data"]["class_path"]))
    for option, trained in pairs:
        kinds = [class_of(path).__name__ for path in (config[option].class_path, trained)]
        if kinds[0] != kinds[1]:
            raise _cannot_change(option, *kinds)


def refuse_lost_average(content: dict[str, Any], callbacks: list[Any]) -> None:
    """A training with averaged weights goes on with them or not at all.

    Raises:
        InputError: if the checkpoint holds an average that no callback would take up.
    """
    kinds = [getattr(callback, "class_path", "") for callback in callbacks]
    if "averaging_state" in content and not any(kind.endswith("Averaging") for kind in kinds):
        raise InputError(
            "the checkpoint holds averaged weights, but trainer.callbacks has no weight "
            "averaging; give the config that it was trained with"
        )


def _refuse_other(option: str, asked: dict[str, Any], trained: dict[str, Any]) -> None:
    kinds = [class_of(part["class_path"]) for part in (asked, trained)]
    if kinds[0] is not kinds[1]:
        raise _cannot_change(option, kinds[0].__name__, kinds[1].__name__)
    known = trained["init_args"]
    for name, value in asked["init_args"].items():
        # An argument that is younger than the checkpoint is not in it.
        if name != FREE and value != known.get(name, value):
            raise _cannot_change(f"{option}.{name}", value, known[name])


def _cannot_change(option: str, asked: Any, trained: Any) -> InputError:
    return InputError(
        f"{option}={asked} cannot change on a loaded model; the checkpoint has {trained}, "
        "leave it out"
    )


def _from_here(data: dict[str, Any]) -> dict[str, Any]:
    """Data whose paths hold from any folder, so that those given now are relative to this one."""
    arguments = data["init_args"]
    root = Path(arguments["root"])

    def placed(named: Any) -> Any:
        if isinstance(named, dict):
            return {split: placed(files) for split, files in named.items()}
        if isinstance(named, list):
            return [placed(file) for file in named]
        return None if named is None else str(root / named)

    files = cast("type[ImageData]", class_of(data["class_path"])).FILES
    # A store holds the images of one set on one machine; whoever has one for this run names it.
    left = ("seed", "root", "store")
    kept = {name: value for name, value in arguments.items() if name not in left}
    return kept | {name: placed(arguments[name]) for name in (*files, "images")}
