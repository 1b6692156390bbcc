"""Linear layers, by the faster of the two libraries that torch multiplies with on a CPU.

torch hands float32 products to MKL, which uses half of the arithmetic of an AVX-512 processor that
is not Intel's. oneDNN, which torch brings along for its compiler and for 16-bit numbers, uses all
of it. ``torch.backends.mkldnn.enabled = False`` goes back to MKL.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

# The operator that torch.compile emits for a linear layer. ``Tensor.to_mkldnn`` is a public door to
# the same kernel, but copies what goes in and out.
HAS_ONEDNN = (
    torch.backends.cpu.get_cpu_capability() == "AVX512"
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, "_linear_pointwise")
)
FEWEST_PRODUCTS = 2**21  # a call of oneDNN costs 20 microseconds, of MKL 5


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``, as :func:`torch.nn.functional.linear`, to rounding.

    Args:
        rows: ``(..., I)``.
        weight: ``(O, I)``.
        bias: ``(O,)``.

    Returns:
        ``(..., O)``, differentiable.
    """
    if _by_onednn(rows, weight):
        return _OneDnnLinear.apply(rows, weight, bias)
    return functional.linear(rows, weight, bias)


class Linear(nn.Linear):
    """A linear layer by :func:`linear`, of the same weights."""

    def forward(self, rows: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``(..., I)`` to ``(..., O)``."""
        return linear(rows, self.weight, self.bias)


def _by_onednn(rows: Tensor, weight: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()  # first, so that no compiled graph is bound to a size
        and HAS_ONEDNN
        and torch.backends.mkldnn.enabled
        and rows.device.type == "cpu"
        and rows.dtype == weight.dtype == torch.float32
        and rows.numel() * len(weight) >= FEWEST_PRODUCTS
        and not torch.is_autocast_enabled("cpu")
    )


class _OneDnnLinear(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        each = upstream.flatten(0, -2)
        return (
            linear(upstream, weight.T) if of_rows else None,
            linear(each.T, rows.flatten(0, -2).T) if of_weight else None,
            each.sum(dim=0) if of_bias else None,
        )
