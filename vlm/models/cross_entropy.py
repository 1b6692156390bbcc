"""Cross-entropy over a vocabulary whose logits never exist all at once."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from vlm.models.linear import ROWS, linear

LOGITS_AT_ONCE = 2**22  # 16 MiB of float32, however many tokens and words there are


def linear_cross_entropy(
    hidden: Tensor,
    words: Tensor,
    targets: Tensor,
    weights: Tensor,
    *,
    label_smoothing: float = 0.0,
    impossible: Sequence[int] = (),
) -> Tensor:
    """The weighted sum of the cross-entropies of ``hidden @ words.T``.

    Equal to ``(weights * functional.cross_entropy(logits, targets, reduction="none")).sum()``.
    Logits are made and turned into gradients a few tokens at a time, in the forward pass, so that
    memory does not grow by ``T * V``.

    Args:
        hidden: ``(T, D)``.
        words: ``(V, D)``, embeddings of the vocabulary.
        targets: ``(T,)`` long, in [0, V).
        weights: ``(T,)``, of any sign; no gradient.
        label_smoothing: share of the target spread over the vocabulary, in [0, 1).
        impossible: words that have no probability, where nothing is smoothed; no target.

    Returns:
        a scalar, float32 at least.
    """
    if label_smoothing and impossible:
        raise ValueError("expected no label smoothing where words are impossible: give one of them")
    options, lacking = (label_smoothing, list(impossible)), -len(targets) % ROWS
    if lacking and len(targets):
        # The last token some more times, with no weight: oneDNN shall see few numbers of tokens.
        hidden = torch.cat([hidden, hidden[-1:].expand(lacking, -1)])
        targets = torch.cat([targets, targets[-1:].expand(lacking)])
        weights = functional.pad(weights, (0, lacking))
    return _LinearCrossEntropy.apply(hidden, words, targets, weights, options)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        hidden: Tensor,
        words: Tensor,
        targets: Tensor,
        weights: Tensor,
        options: tuple[float, list[int]],
    ) -> Tensor:
        (smoothing, impossible), size = options, len(words)
        at_once = max(1, LOGITS_AT_ONCE // size // ROWS) * ROWS
        differentiated = any(ctx.needs_input_grad)
        hidden_slope = torch.empty_like(hidden) if differentiated else None
        wide = torch.promote_types(hidden.dtype, torch.float32)
        words_slope = torch.zeros_like(words, dtype=wide) if differentiated else None
        loss = weights.new_zeros((), dtype=wide)
        for start in range(0, len(hidden), at_once):
            some = slice(start, start + at_once)
            rows, target, weight = hidden[some], targets[some, None], weights[some, None]
            logits = linear(rows, words).to(wide)
            logits[:, impossible] = -math.inf
            likely = logits.log_softmax(dim=-1)
            costs = (smoothing - 1) * likely.gather(1, target)
            if smoothing:
                costs = costs - smoothing * likely.mean(dim=1, keepdim=True)
            loss += (weight * costs).sum()
            if hidden_slope is None or words_slope is None:
                continue
            slope = likely.exp_().sub_(smoothing / size)
            slope.scatter_add_(1, target, torch.full_like(costs, smoothing - 1))
            slope = slope.mul_(weight)
            # In full precision: a loss scaled later could not save what half of it has lost.
            with torch.autocast(rows.device.type, enabled=False):
                hidden_slope[some] = linear(slope, words.to(wide).T).to(hidden.dtype)
                words_slope += linear(slope.T, rows.to(wide).T)
        ctx.save_for_backward(hidden_slope, words_slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, upstream: Tensor
    ) -> tuple[Tensor | None, ...]:
        hidden_slope, words_slope = ctx.saved_tensors
        return upstream * hidden_slope, upstream * words_slope, None, None, None
