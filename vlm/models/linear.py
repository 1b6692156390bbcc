"""Linear layers, by the faster of the two libraries that torch multiplies with on a CPU.

torch hands float32 products to MKL, which uses half of the arithmetic of an AVX-512 processor that
is not Intel's. oneDNN, which torch brings along for its compiler and for 16-bit numbers, uses all
of it. ``torch.backends.mkldnn.enabled = False`` goes back to MKL, as does the variable
``ATEN_CPU_CAPABILITY=avx2`` of a command, which takes torch's own AVX-512 too.
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
FEWEST_PRODUCTS = 2**21  # fewer are no gain: a call of oneDNN costs 10 microseconds more
ROWS = 32  # oneDNN makes and keeps code for every number of rows: it is given multiples of this


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``rows @ weight.T + bias``, as :func:`torch.nn.functional.linear`, to rounding.

    Not for the transforms of ``torch.func``, where oneDNN multiplies.

    Args:
        rows: ``(..., I)``.
        weight: ``(O, I)``.
        bias: ``(O,)``.

    Returns:
        ``(..., O)``, differentiable, also twice.
    """
    if not _by_onednn(rows, weight, bias):
        return functional.linear(rows, weight, bias)
    table = rows.reshape(-1, rows.shape[-1])
    # Columns turned into rows, as the gradient of a weight has them, are always as many.
    lacking = -len(table) % ROWS if table.is_contiguous() else 0
    if lacking:
        padded = functional.pad(table, (0, 0, 0, lacking))
        product = _OneDnnLinear.apply(padded, weight, bias)[:-lacking]
    else:
        product = _OneDnnLinear.apply(table, weight, bias)
    return product.view(*rows.shape[:-1], len(weight))


class Linear(nn.Linear):
    """A linear layer by :func:`linear`, of the same weights."""

    def forward(self, rows: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``(..., I)`` to ``(..., O)``."""
        return linear(rows, self.weight, self.bias)


def _by_onednn(rows: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    return (
        not torch.compiler.is_compiling()  # first, so that no compiled graph is bound to a size
        and HAS_ONEDNN
        and torch.backends.mkldnn.enabled
        and rows.device.type == "cpu"
        and rows.dtype == weight.dtype == torch.float32
        and rows.numel() * len(weight) >= FEWEST_PRODUCTS
        and rows.shape[-1] == weight.shape[-1]  # else torch says best what is wrong
        and (bias is None or bias.is_contiguous())  # oneDNN reads it as if it were
        and not torch.is_autocast_enabled("cpu")
    )


class _OneDnnLinear(torch.autograd.Function):
    """Of rows ``(T, I)``."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        of_rows, of_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(rows if of_weight else None, weight if of_rows else None)
        return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        return (
            None if weight is None else linear(upstream, weight.T),
            None if rows is None else linear(upstream.T, rows.T),
            upstream.sum(dim=0) if ctx.needs_input_grad[2] else None,
        )
