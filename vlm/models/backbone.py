"""FrozenBackbone: any timm model as eyes that never change."""

import copy
import hashlib
import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from timm.data.config import resolve_model_data_config
from timm.layers.patch_embed import PatchEmbed
from torch import Tensor, nn
from torch.nn import functional

from vlm.errors import InputError
from vlm.models.folding import fold_batch_norms
from vlm.models.timm_source import LOCAL_DIR, absolute, create
from vlm.regions import RegionFeatures, grid_boxes

HEAD_ARGUMENTS = ("num_classes", "in_chans", "global_pool", "img_size")
"""Arguments of a timm model that its regions do not depend on, or that stand elsewhere."""


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
        layer: of the feature map among those of the model, counted from 0, or from -1 for the
            last one.
        pool: (rows, columns), or one number for both, that the map is averaged down to.
        public: whether the weights can be had again from their source. Those of a
            backbone that is not public, or not pretrained, travel in checkpoints.

    Attributes:
        width: of a region's features.
        grid: (rows, columns) of the regions.
        image_size: (height, width) in pixels of the images it takes.
        interpolation: with which images are resized for it, PIL's name in lower case.

    Raises:
        InputError: if the name is unknown to timm, the weights cannot be found, loaded or
            do not fit, or the model does not take ``image_size`` or has no such ``layer`` or a
            map smaller than ``pool``.
    """

    _model: Any  # timm models share methods, but no type

    def __init__(
        self,
        name: str,
        *,
        weights: str | None = None,
        pretrained: bool = True,
        image_size: int | tuple[int, int] | None = None,
        layer: int = -1,
        pool: int | tuple[int, int] | None = None,
        public: bool = True,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.pool = _height_and_width(pool)
        self.name = absolute(name)
        self.weights = None if weights is None else str(Path(weights).resolve())
        self.pretrained = pretrained
        self.public = public and pretrained
        size = _height_and_width(image_size)
        model = create(self.name, self.weights, size, pretrained=pretrained)
        # Channels last, twice as fast in convolutions; past nn.Module's own bookkeeping on
        # purpose: this is what keeps it frozen.
        model = (
            model.eval().requires_grad_(requires_grad=False).to(memory_format=torch.channels_last)
        )
        object.__setattr__(self, "_model", model)
        self._model_arguments = _model_arguments(self.name)
        config = resolve_model_data_config(model)
        height, width = size or config["input_size"][1:]
        self.image_size = (height, width)
        self.interpolation: str = config["interpolation"]
        self._require_whole_patches()
        # Plain tensors, no buffers: a moving average over buffers would make them drift.
        self.mean = torch.tensor(config["mean"]).view(1, -1, 1, 1)
        self.std = torch.tensor(config["std"]).view(1, -1, 1, 1)
        self._normalised_output, (self.width, rows, columns) = self._probe()
        self.grid: tuple[int, int] = self.pool or (rows, columns)
        if not (1 <= self.grid[0] <= rows and 1 <= self.grid[1] <= columns):
            raise InputError(
                f"backbone {self.name!r} has a map of {rows}x{columns} regions, which cannot be "
                f"averaged down to {self.grid[0]}x{self.grid[1]}; give a smaller pool"
            )

    def forward(self, images: Tensor) -> RegionFeatures:
        """Looks at images: the regions of their :meth:`feature_map`.

        Args:
            images: ``(B, 3, height, width)`` RGB in [0, 1], of ``image_size``.

        Returns:
            a grid of regions over each whole image, all of them real.

        Raises:
            ValueError: if the images are integers, which cannot be in [0, 1].
        """
        return self.regions(self.feature_map(images))

    @torch.no_grad()
    def feature_map(self, images: Tensor) -> Tensor:
        """What the chosen layer says of images, ``(B, D, rows, columns)``, not pooled yet.

        Args:
            images: ``(B, 3, height, width)`` RGB in [0, 1], of ``image_size``.

        Raises:
            ValueError: if the images are integers, which cannot be in [0, 1].
        """
        if not images.is_floating_point():
            raise ValueError(f"expected RGB in [0, 1], got {images.dtype}; divide it by 255")
        return self._map(images, normalised=self._normalised_output)

    def regions(self, feature_map: Tensor) -> RegionFeatures:
        """A feature map, pooled where that was asked for, as a grid of regions."""
        grid = feature_map
        if self.pool is not None:
            grid = functional.adaptive_avg_pool2d(grid, self.pool)
        batch = len(grid)
        boxes = grid_boxes(*grid.shape[-2:]).to(grid.device)
        return RegionFeatures(
            features=grid.flatten(2).transpose(1, 2),
            boxes=boxes.expand(batch, -1, -1),
            mask=torch.ones(batch, len(boxes), dtype=torch.bool, device=grid.device),
        )

    def folded(self) -> "FrozenBackbone":
        """The same eyes, their batch norms folded: quicker, and equal to a rounding."""
        image = torch.rand((1, 3, *self.image_size), generator=torch.Generator().manual_seed(0)).to(
            self.mean
        )

        def look(model: nn.Module) -> Tensor:
            return self._map_of(model, image, normalised=self._normalised_output)

        folded = fold_batch_norms(self._model, look)
        if folded is self._model:
            return self
        twin = copy.copy(self)
        twin.hash = self.hash
        object.__setattr__(twin, "_model", folded)
        return twin

    @cached_property
    def hash(self) -> str:
        """What decides the features of an image, as 16 hexadecimal digits of a SHA-256.

        Layer and pooling where they are not the usual ones; every weight and statistic by
        name; the geometry that no weight shows: architecture and its arguments, pixel mean
        and std, interpolation.
        """
        identity = self._config()
        if self.layer != -1:
            identity["layer"] = self.layer
        if self.pool is not None:
            identity["pool"] = self.pool
        identity["pretrained_cfg"].pop("input_size")  # image_size decides, and stands beside
        for name in HEAD_ARGUMENTS:
            identity["model_args"].pop(name, None)
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    @property
    def geometry(self) -> str:
        """How images are brought to it, for people: 224x224 bicubic."""
        return f"{self.image_size[0]}x{self.image_size[1]} {self.interpolation}"

    @property
    def architecture(self) -> str:
        """What timm calls the network, whatever its weights."""
        return self._model.pretrained_cfg["architecture"]

    def travelling(self) -> dict[str, Any]:
        """What timm's local-dir layout holds, for a checkpoint it must travel in.

        Returns:
            ``config``, the content of ``config.json``, and ``state``, the weights by name.
        """
        state = self._model.state_dict().items()
        return {
            "config": self._config(),
            "state": {name: value.contiguous() for name, value in state},
        }

    def _config(self) -> dict[str, Any]:
        config = resolve_model_data_config(self._model)
        kept = ("input_size", "interpolation", "mean", "std")
        return {
            "architecture": self.architecture,
            "num_classes": 0,
            "model_args": dict(self._model_arguments),
            "pretrained_cfg": {key: _plain(config[key]) for key in kept},
        }

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FrozenBackbone":  # noqa: FBT001, FBT002
        """Moves and casts reach the hidden model too."""
        self._model._apply(fn, recurse)
        self.mean, self.std = fn(self.mean), fn(self.std)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict) -> "FrozenBackbone":
        """What never changes need not be copied."""
        return self

    def _map(self, images: Tensor, *, normalised: bool) -> Tensor:
        return self._map_of(self._model, images, normalised=normalised)

    def _map_of(self, model: Any, images: Tensor, *, normalised: bool) -> Tensor:
        pixels = (images - self.mean) / self.std
        return model.forward_intermediates(
            pixels.contiguous(memory_format=torch.channels_last),
            indices=[self.layer],
            norm=normalised,
            output_fmt="NCHW",
            intermediates_only=True,
            stop_early=True,
        )[-1]

    def _require_whole_patches(self) -> None:
        """Refuses a size of which patches would leave a border unseen and all boxes askew."""
        embedding = getattr(self._model, "patch_embed", None)
        if not isinstance(embedding, PatchEmbed) or embedding.dynamic_img_pad:
            return
        patches: tuple[int, int] = self._model.patch_embed.patch_size
        sides = list(zip(self.image_size, patches, strict=True))
        if any(side % patch for side, patch in sides):
            fitting = [max(patch, round(side / patch) * patch) for side, patch in sides]
            raise InputError(
                f"backbone {self.name!r} was given image_size {self.image_size[0]}x"
                f"{self.image_size[1]}, which is no multiple of its patch of "
                f"{patches[0]}x{patches[1]} pixels; "
                f"give {fitting[0]}x{fitting[1]}"
            )

    @torch.no_grad()
    def _probe(self) -> tuple[bool, torch.Size]:
        """Looks at one grey image: whether the output can be normed, and its shape."""
        try:
            image = torch.full((1, 3, *self.image_size), 0.5, device=self.mean.device)
            try:
                return True, self._map(image, normalised=True).shape[1:]
            except AssertionError as error:  # Hiera has no norm for intermediates
                if "norm" not in str(error):
                    raise
                return False, self._map(image, normalised=False).shape[1:]
        except (AssertionError, RuntimeError) as error:
            if found := re.search(r"index .* out of range \(0 to (\d+)\)", str(error)):
                raise InputError(
                    f"backbone {self.name!r} has no layer {self.layer}; give 0 to {found[1]}, "
                    "or -1 for the last one"
                ) from error
            own = resolve_model_data_config(self._model)["input_size"][1:]
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
