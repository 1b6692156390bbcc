"""timm models by name, folder or file, each failure told in one sentence."""

import difflib
import json
import logging
import re
from pathlib import Path

import timm
from safetensors import SafetensorError
from torch import nn

from vlm.errors import InputError

LOCAL_DIR = "local-dir:"
TIMM_LOADER = logging.getLogger("timm.models._builder")


def absolute(name: str) -> str:
    """``local-dir:`` paths hold from any folder."""
    if name.startswith(LOCAL_DIR):
        return LOCAL_DIR + str(Path(name.removeprefix(LOCAL_DIR)).resolve())
    return name


def create(
    name: str, weights: str | None, size: tuple[int, int] | None, *, pretrained: bool
) -> nn.Module:
    """A timm model without its classifier.

    Args:
        name: of the model, or ``local-dir:PATH``.
        weights: a file of its weights; timm's own source when not given.
        size: (height, width) in pixels; the model's own when not given.
        pretrained: False leaves the weights random.

    Raises:
        InputError: if the name is unknown, or the weights cannot be found or read or do not
            fill the model.
    """
    _require_source(name, weights)
    unfilled = _UnfilledWeights()
    try:
        with unfilled:
            model = _create(name, weights, size, pretrained=pretrained)
    except OSError as error:
        raise InputError(
            f"weights of backbone {name!r} could not be fetched or read; connect to the internet "
            "once so that they are cached, or give a folder as name 'local-dir:PATH', "
            "or a file as weights, or pretrained: false for random ones"
        ) from error
    except (RuntimeError, SafetensorError) as error:
        told = " ".join(str(error).split())
        raise InputError(f"backbone {name!r} could not be made: {told[:300]}") from error
    if unfilled.names:
        raise InputError(
            f"the weights for backbone {name!r} do not fit it: {len(unfilled.names)} of its "
            f"tensors are missing from them, {unfilled.names[0]} for one; give its own weights"
        )
    return model


def _create(
    name: str, weights: str | None, size: tuple[int, int] | None, *, pretrained: bool
) -> nn.Module:
    options = {
        "pretrained": pretrained,
        "num_classes": 0,
        "pretrained_cfg_overlay": None if weights is None else {"file": weights},
    }
    if size is not None:
        try:
            return timm.create_model(name, img_size=size, **options)
        except TypeError:  # convolutional networks know no image size
            pass
    return timm.create_model(name, **options)


class _UnfilledWeights(logging.Handler):
    """What timm leaves random, which it mentions in its log alone."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = re.match(r"Missing keys \((.*)\) discovered", record.getMessage())
        self.names += found[1].split(", ") if found else []

    def __enter__(self) -> None:
        self._before = TIMM_LOADER.level, TIMM_LOADER.propagate
        TIMM_LOADER.addHandler(self)
        TIMM_LOADER.setLevel(logging.INFO)
        TIMM_LOADER.propagate = False

    def __exit__(self, *_: object) -> None:
        TIMM_LOADER.removeHandler(self)
        level, TIMM_LOADER.propagate = self._before
        TIMM_LOADER.setLevel(level)


def _require_source(name: str, weights: str | None) -> None:
    """Names what is missing before timm starts to look for it."""
    if weights is not None and not Path(weights).is_file():
        raise InputError(f"weights {weights} of backbone {name!r} do not exist; check the path")
    if name.startswith(LOCAL_DIR):
        _require_config(name)
    elif ":" not in name and not timm.is_model(name):
        known = timm.list_models() + timm.list_pretrained()
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; see timm.list_models()"
        raise InputError(f"timm knows no backbone {name!r}{hint}")


def _require_config(name: str) -> None:
    """A local-dir must say which architecture it holds."""
    path = Path(name.removeprefix(LOCAL_DIR)) / "config.json"
    if not path.is_file():
        raise InputError(
            f"backbone {name!r} has no config.json; give a folder in timm's local-dir layout"
        )
    try:
        named = "architecture" in json.loads(path.read_text())
    except ValueError:
        named = False
    if not named:
        raise InputError(f"{path} names no architecture; write it as timm.models.save_for_hf does")
