"""What a checkpoint decides about a run, and what may overrule it."""

from pathlib import Path
from typing import Any

from vlm.errors import InputError
from vlm.training import checkpoint as checkpoints

GIVEN = {"encoder": "region_width", "decoder": "vocabulary_size"}  # by backbone and tokenizer
FREE = "dropout"


def lowest_config(recipe: dict[str, Any], backbone: str | None) -> dict[str, Any]:
    """What a checkpoint says of model and data, as a config that any other overrules.

    Args:
        recipe: the checkpoint's section.
        backbone: folder or file that holds its backbone, where the source is gone.
    """
    parts: dict[str, Any] = {"backbone": checkpoints.backbone_description(recipe, backbone)}
    for part, given in GIVEN.items():
        arguments = dict(recipe[part]["init_args"])
        arguments.pop(given)
        parts[part] = {"class_path": recipe[part]["class_path"], "init_args": arguments}
    settings = dict(recipe["settings"])
    config: dict[str, Any] = {
        "seed_everything": settings.pop("seed"),
        "model": {"class_path": recipe["task"], "init_args": parts | settings},
    }
    if recipe["data"] is not None:
        arguments = _from_here(recipe["data"]["init_args"])
        config["data"] = {"class_path": recipe["data"]["class_path"], "init_args": arguments}
    return config


def refuse_changes(recipe: dict[str, Any], config: Any) -> None:
    """Holds a run's config against what cannot change on a loaded model.

    Args:
        recipe: the checkpoint's section.
        config: of the run, not instantiated.

    Raises:
        InputError: naming the first option that differs.
    """
    model = config.model.init_args
    for part in GIVEN:
        _refuse_other(f"model.{part}", model[part].as_dict(), recipe[part])
    trained = recipe["backbone"]["init_args"].get("image_size")  # none where regions are imported
    size = model.backbone.init_args.get("image_size")
    if size is not None and list(size if not isinstance(size, int) else (size, size)) != trained:
        raise _cannot_change("model.backbone.image_size", size, trained)
    if recipe["data"] is not None:
        vocabulary = recipe["data"]["init_args"]["vocabulary"]
        _refuse_other("data.vocabulary", config.data.init_args.vocabulary.as_dict(), vocabulary)


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
    kinds = [checkpoints.class_of(part["class_path"]) for part in (asked, trained)]
    if kinds[0] is not kinds[1]:
        raise _cannot_change(option, kinds[0].__name__, kinds[1].__name__)
    for name, value in asked["init_args"].items():
        if name != FREE and value != trained["init_args"][name]:
            raise _cannot_change(f"{option}.{name}", value, trained["init_args"][name])


def _cannot_change(option: str, asked: Any, trained: Any) -> InputError:
    return InputError(
        f"{option}={asked} cannot change on a loaded model; the checkpoint has {trained}, "
        "leave it out"
    )


def _from_here(arguments: dict[str, Any]) -> dict[str, Any]:
    """Data whose paths hold from any folder, so that those given now are relative to this one."""
    root, files = Path(arguments["root"]), arguments["annotations"]
    if isinstance(files, dict):
        files = {split: str(root / file) for split, file in files.items()}
    elif files is not None:
        files = str(root / files)
    # A store holds the images of one set on one machine; whoever has one for this run names it.
    left = ("seed", "root", "store")
    kept = {name: value for name, value in arguments.items() if name not in left}
    return kept | {"annotations": files, "images": str(root / arguments["images"])}
