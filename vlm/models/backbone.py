"""FrozenBackbone: any timm model as eyes that never change."""

import difflib
import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from torch import Tensor, nn

from vlm.errors import InputError
from vlm.regions import RegionFeatures, grid_boxes

LOCAL_DIR = "local-dir:"


class FrozenBackbone(nn.Module):
    """A timm vision model that turns images into a grid of region features.

    Frozen is built in, not switched on: the timm model is not a child module, so no
    optimiser, checkpoint, moving average or distributed bucket ever sees its
    weights, ``.train()`` never reaches its batch norms, and no gradient is kept.
    It is referred to by name and weight hash instead.

    Args:
        name: of the timm model with its tag (``vit_base_patch16_siglip_224.v2_webli``),
            or ``local-dir:PATH`` of a folder in timm's own layout (``config.json`` and
            ``model.safetensors``).
        weights: a weight file for ``name`` (safetensors or a torch state dict);
            timm's own source when not given.
        pretrained: False leaves the weights random.
        image_size: pixels a side, or (height, width); the model's own when not given.
        public: whether the weights can be had again from their source. Those of a
            backbone that is not public, or not pretrained, travel in checkpoints.

    Attributes:
        width: of a region's features.
        grid: (rows, columns) of the regions.
        image_size: (height, width) in pixels of the images it takes.
        interpolation: with which images are resized for it, PIL's name in lower case.

    Raises:
        InputError: if the name is unknown to timm, the weights cannot be found or
            loaded, or the model does not take ``image_size``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = None,
        pretrained: bool = True,
        image_size: int | tuple[int, int] | None = None,
        public: bool = True,
    ) -> None:
        super().__init__()
        self.name = _absolute(name)
        self.weights = None if weights is None else str(Path(weights).resolve())
        self.pretrained = pretrained
        self.public = public and pretrained
        size = _height_and_width(image_size)
        model = _create(self.name, self.weights, size, pretrained=pretrained)
        # Channels last, twice as fast in convolutions; past nn.Module's own bookkeeping on
        # purpose: this is what keeps it frozen.
        model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        object.__setattr__(self, "_model", model)
        config = timm.data.resolve_model_data_config(model)
        self.image_size: tuple[int, int] = tuple(size or config["input_size"][1:])
        self.interpolation: str = config["interpolation"]
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(config[key]).view(1, -1, 1, 1), persistent=False)
        self._normalised_output, (self.width, *grid) = self._probe()
        self.grid: tuple[int, int] = (grid[0], grid[1])

    @torch.no_grad()
    def forward(self, images: Tensor) -> RegionFeatures:
        """Looks at images.

        Args:
            images: ``(B, 3, height, width)`` RGB in [0, 1], of ``image_size``.

        Returns:
            a grid of regions over each whole image, all of them real.
        """
        grid = self._grid(images, normalised=self._normalised_output)
        batch = len(images)
        boxes = grid_boxes(*grid.shape[-2:]).to(grid.device)
        return RegionFeatures(
            features=grid.flatten(2).transpose(1, 2),
            boxes=boxes.expand(batch, -1, -1),
            mask=torch.ones(batch, len(boxes), dtype=torch.bool, device=grid.device),
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of every weight and statistic by name, first 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def travelling(self) -> dict[str, Any]:
        """What timm's local-dir layout holds, for a checkpoint it must travel in.

        Returns:
            ``config``, the content of ``config.json``, and ``state``, the weights by name.
        """
        settings = self._model.pretrained_cfg
        kept = ("input_size", "interpolation", "mean", "std", "crop_pct", "fixed_input_size")
        config = {
            "architecture": settings["architecture"],
            "num_classes": 0,
            "model_args": _model_arguments(self.name),
            "pretrained_cfg": {key: _plain(settings[key]) for key in kept if key in settings},
        }
        return {"config": config, "state": dict(self._model.state_dict())}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenBackbone":  # noqa: FBT001, FBT002
        """Moves and casts reach the hidden model too."""
        self._model._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> "FrozenBackbone":
        """What never changes need not be copied."""
        return self

    def _grid(self, images: Tensor, *, normalised: bool) -> Tensor:
        """The last feature map, ``(B, D, rows, columns)``."""
        pixels = (images - self.mean) / self.std
        return self._model.forward_intermediates(
            pixels.contiguous(memory_format=torch.channels_last),
            indices=1,
            norm=normalised,
            output_fmt="NCHW",
            intermediates_only=True,
        )[-1]

    @torch.no_grad()
    def _probe(self) -> tuple[bool, torch.Size]:
        """Looks at one grey image: whether the output can be normed, and its shape."""
        image = torch.full((1, 3, *self.image_size), 0.5, device=self.mean.device)
        try:
            try:
                return True, self._grid(image, normalised=True).shape[1:]
            except AssertionError as error:  # Hiera has no norm for intermediates
                if "norm" not in str(error):
                    raise
                return False, self._grid(image, normalised=False).shape[1:]
        except (AssertionError, RuntimeError) as error:
            own = timm.data.resolve_model_data_config(self._model)["input_size"][1:]
            raise InputError(
                f"backbone {self.name!r} does not take images of "
                f"{self.image_size[0]}x{self.image_size[1]} pixels ({error}); "
                f"its own size is {own[0]}x{own[1]}"
            ) from error


def _height_and_width(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _model_arguments(name: str) -> dict[str, Any]:
    """What a local-dir's own config passes to its architecture."""
    if not name.startswith(LOCAL_DIR):
        return {}
    config = json.loads((Path(name.removeprefix(LOCAL_DIR)) / "config.json").read_text())
    return config.get("model_args", {})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _absolute(name: str) -> str:
    """``local-dir:`` paths hold from any folder."""
    if name.startswith(LOCAL_DIR):
        return LOCAL_DIR + str(Path(name.removeprefix(LOCAL_DIR)).resolve())
    return name


def _create(
    name: str, weights: str | None, size: tuple[int, int] | None, *, pretrained: bool
) -> nn.Module:
    """The timm model without its classifier, each failure told in one sentence."""
    _check_source(name, weights)
    overlay = None if weights is None else {"file": weights}
    options = {
        "pretrained": pretrained,
        "num_classes": 0,
        "pretrained_cfg_overlay": overlay,
    }
    try:
        if size is not None:
            try:
                return timm.create_model(name, img_size=size, **options)
            except TypeError:  # convolutional networks know no image size
                pass
        return timm.create_model(name, **options)
    except OSError as error:
        raise InputError(
            f"weights of backbone {name!r} could not be fetched or read; connect to the internet "
            "once so that they are cached, or give a folder as name 'local-dir:PATH', "
            "or a file as weights, or pretrained: false for random ones"
        ) from error
    except RuntimeError as error:
        raise InputError(f"backbone {name!r} could not be made: {error}") from error


def _check_source(name: str, weights: str | None) -> None:
    """Names what is missing before timm starts to look for it."""
    if weights is not None and not Path(weights).is_file():
        raise InputError(f"weights {weights} of backbone {name!r} do not exist; check the path")
    if name.startswith(LOCAL_DIR):
        folder = Path(name.removeprefix(LOCAL_DIR))
        if not (folder / "config.json").is_file():
            raise InputError(
                f"backbone {name!r} has no config.json; expected a folder in timm's local-dir layout"
            )
    elif ":" not in name and not timm.is_model(name):
        known = timm.list_models() + timm.list_pretrained()
        nearest = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else "; see timm.list_models()"
        raise InputError(f"timm knows no backbone {name!r}{hint}")
