"""AttnLRP: a word's log-probability handed back through a whole transformer, layer by layer.

Achtibat et al. 2024 (arXiv:2402.05602), in its form of a changed backward pass: relevance is a
value times its gradient, where norms and activations hand back in proportion to what went
through them, and a product of two tensors gives each of them half.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from vlm.explain.passages import Passage
from vlm.models.attention import KeyValues, MultiHeadAttention, attention_weights
from vlm.models.encoder import RegionEncoder

Hook = Callable[[Any, tuple[Any, ...], Tensor], Tensor]


def attnlrp(passage: Passage) -> Tensor:
    """What a word's log-probability owes to each region as it enters the encoder, ``(W, N)``.

    The positive part of the sum over a region's channels; all words of a question have that of
    the answer.
    """
    entered: list[Tensor] = []
    encoder = cast(RegionEncoder, passage.network.encoder)
    with torch.inference_mode(mode=False), torch.enable_grad(), ruled(passage.network):
        handle = encoder.drop.register_forward_hook(_entering(entered))
        try:
            memory = passage.network.encode(passage.regions.each(torch.clone))
        finally:
            handle.remove()
        targets = passage.log_probabilities(memory)[0]
        each = torch.eye(len(targets), dtype=targets.dtype, device=targets.device)
        (slopes,) = torch.autograd.grad(targets, entered, each, is_grads_batched=True)
    owed = (entered[0].detach() * slopes[:, 0]).sum(dim=-1)  # (T, N)
    return passage.of_words(owed.float().clamp(min=0))


def _entering(entered: list[Tensor]) -> Hook:
    """A hook that goes on with what can be differentiated by, be the network frozen or not."""

    def hook(module: Any, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        del module, arguments
        entered.append(output.detach().requires_grad_())
        return entered[-1]

    return hook


@contextmanager
def ruled(network: nn.Module) -> Iterator[None]:
    """Within it a network computes what it always does, and hands back by AttnLRP's rules."""
    with ExitStack() as stack:
        for module in network.modules():
            hook = _rule_of(module)
            if hook is not None:
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _rule_of(module: nn.Module) -> Hook | None:
    if isinstance(module, MultiHeadAttention):
        return _attention
    if isinstance(module, nn.LayerNorm):
        return _norm
    return _activation if isinstance(module, nn.GELU) else None


def _attention(module: MultiHeadAttention, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    """Both products give each of their factors half."""
    del output
    asking, (keys, values), mask = cast(tuple[Tensor, KeyValues, Tensor | None], arguments[:3])
    queries = module.query(asking).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    weights = attention_weights(_half(queries), _half(keys), mask)
    return module.gather(_half(weights) @ _half(values))


def _norm(module: nn.LayerNorm, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    """The deviation is a constant, so that what comes in has what goes out."""
    (values,) = arguments
    away = values - values.mean(dim=-1, keepdim=True)
    spread = (values.var(dim=-1, correction=0, keepdim=True) + module.eps).sqrt().detach()
    return away / spread * module.weight + module.bias


def _activation(module: nn.GELU, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
    """What comes in has what goes out, in proportion."""
    (values,) = arguments
    nothing = values == 0
    return values * (output / values.masked_fill(nothing, 1)).masked_fill(nothing, 0.5).detach()


def _half(values: Tensor) -> Tensor:
    """The same, with half of the gradient."""
    return values / 2 + values.detach() / 2
