"""Batch norms folded into the convolutions before them: the same function in fewer steps."""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

TOLERANCE = 1e-3  # of a map's length; folding moves it by a thousandth of that


@torch.no_grad()
def fold_batch_norms(model: nn.Module, look: Callable[[nn.Module], Tensor]) -> nn.Module:
    """A model that computes the same with fewer batch norms (Jacob et al. 2018, section 3.2).

    Which convolution feeds which batch norm is seen while the model looks once, so no
    architecture need be known; what came out is held against what comes out afterwards.

    Args:
        model: in evaluation mode; it stays as it is.
        look: has a model look at something, and returns what it saw.

    Returns:
        a folded copy; the model itself where there is nothing to fold, or where a convolution's
        output goes elsewhere too, so that folding would change what the model computes.
    """
    before, pairs = _watch(model, look)
    if not pairs:
        return model
    names = {module: name for name, module in model.named_modules()}
    twin = copy.deepcopy(model)  # fuse_conv_bn_eval copies what it is given, too
    for convolution, norm in pairs:
        twin.set_submodule(names[convolution], fuse_conv_bn_eval(convolution, norm))
        twin.set_submodule(names[norm], _rest(norm))
    error = (look(twin) - before).norm() / before.norm().clamp(min=1e-12)
    return twin if error < TOLERANCE else model


def _watch(
    model: nn.Module, look: Callable[[nn.Module], Tensor]
) -> tuple[Tensor, list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """What a model sees, and its convolutions whose output went straight into a batch norm."""
    outputs: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # the tensor is kept, so is its address
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    calls: Counter[nn.Module] = Counter()

    def watch(module: nn.Module, given: tuple, output: Tensor) -> None:
        calls[module] += 1
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = module, output
        elif given and id(given[0]) in outputs and isinstance(module, nn.BatchNorm2d):
            pairs.append((outputs[id(given[0])][0], module))

    watched = [part for part in model.modules() if _is_foldable(part)]
    hooks = [part.register_forward_hook(watch) for part in watched]
    try:
        seen = look(model)
    finally:
        for hook in hooks:
            hook.remove()
    return seen, [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def _is_foldable(part: nn.Module) -> bool:
    # Exactly these convolutions: those of other kinds pad or scale by themselves.
    norm = isinstance(part, nn.BatchNorm2d) and part.track_running_stats
    return type(part) is nn.Conv2d or norm


def _rest(norm: nn.Module) -> nn.Module:
    """What timm's batch norms do beside norming: drop and activate."""
    parts = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
    return nn.Sequential(*parts) if parts else nn.Identity()
