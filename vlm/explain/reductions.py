"""What a word owes to each region, from all attention of a network and not from a layer's alone.

All take a passage and give ``(W, N)``, not negative; :func:`vlm.explain.maps.explain` brings
rows to a sum of 1. ``rollout`` reads weights, ``gradient`` and ``relevance`` also what the word's
log-probability owes to them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vlm.explain.passages import Passage
from vlm.explain.recording import Looks, recorded


def rollout(passage: Passage) -> Tensor:
    """Attention followed back through all layers, to the regions as they entered the encoder.

    Abnar and Zuidema 2020 (arXiv:2005.00928): every branch hands on half of what it was given
    and half of what it attended to, by the mean of its heads; layers are multiplied.
    """
    with torch.no_grad(), recorded(passage.network) as looks:
        passage.log_probabilities(passage.network.encode(passage.regions))
    weights = looks.map(lambda layer: layer[0].float().mean(dim=0))
    return passage.shares @ rolled(weights)


def rolled(weights: Looks) -> Tensor:
    """Rollout of weights ``(N, N)``, ``(L, L)`` and ``(L, N)`` a layer.

    Returns:
        ``(L, N)``; a row sums to what the token took from the image at all.
    """
    among = _identity(weights.cross[0].shape[-1], weights.cross[0])
    for layer in weights.regions:
        among = (among + layer @ among) / 2
    found = torch.zeros_like(weights.cross[0])
    alone = len(weights.text) - len(weights.cross)
    for layer in weights.text[:alone]:
        found = (found + layer @ found) / 2
    for own, cross in zip(weights.text[alone:], weights.cross, strict=True):
        found = (found + own @ found) / 2
        found = (found + cross @ among) / 2
    return found


def gradient(passage: Passage) -> Tensor:
    """Attention times its gradient in a word's log-probability, where that is positive.

    Summed over the layers of cross-attention, the mean of heads. A word that the network chose
    has all looks of the text that led to it, a word of a question its own.
    """
    _, _, cross = evidence(passage)
    total = torch.stack(cross).sum(dim=0)  # (T, L, N)
    chosen = torch.tensor(passage.chosen, device=total.device)
    shares = passage.shares.masked_fill(chosen.unsqueeze(1), 1)
    return (shares.unsqueeze(1) @ passage.of_words(total)).squeeze(1)


def relevance(passage: Passage) -> Tensor:
    """Relevance propagated through encoder and decoder (Chefer et al. 2021, arXiv:2103.15679)."""
    of_words = passage.of_words(propagate(evidence(passage)))
    return (passage.shares.unsqueeze(1) @ of_words).squeeze(1)


def propagate(evidence: Looks) -> Tensor:
    """The paper's rules for an encoder and a decoder, equations 6 to 10.

    Args:
        evidence: ``(T, N, N)``, ``(T, L, L)`` and ``(T, L, N)`` a layer, the positive part of
            attention times its gradient, the mean of heads (equation 5).

    Returns:
        ``(T, L, N)``, of every token to every region.
    """
    cross = evidence.cross[0]
    among = _identity(cross.shape[-1], cross).expand(len(cross), -1, -1)
    for layer in evidence.regions:
        among = among + layer @ among
    among = _normalised(among)
    text = _identity(cross.shape[-2], cross).expand(len(cross), -1, -1)
    found = torch.zeros_like(cross)
    alone = len(evidence.text) - len(evidence.cross)
    for index, own in enumerate(evidence.text):
        text, found = text + own @ text, found + own @ found
        if index >= alone:
            looks = evidence.cross[index - alone]
            found = found + _normalised(text).transpose(-2, -1) @ looks @ among
    return found


def evidence(passage: Passage) -> Looks:
    """Attention times its gradient in each target's log-probability, where positive.

    Returns:
        ``(T, N, N)``, ``(T, L, L)`` and ``(T, L, N)`` a layer, the mean of heads.
    """
    # Lightning validates in inference mode, whose tensors cannot be differentiated.
    with torch.inference_mode(mode=False), torch.enable_grad():
        regions = passage.regions.each(torch.clone)
        with recorded(passage.network) as looks:
            targets = passage.log_probabilities(passage.network.encode(regions))[0]
        layers = [layer for kind in looks for layer in kind]
        slopes = _slopes(targets, layers)
    positive = iter(
        (layer.detach()[0] * slope[:, 0]).clamp(min=0).float().mean(dim=1)
        for layer, slope in zip(layers, slopes, strict=True)
    )
    return looks.map(lambda _: next(positive))


def _slopes(targets: Tensor, layers: Sequence[Tensor]) -> Sequence[Tensor]:
    """``(T, B, H, L, N)`` a layer, the gradients of every target at once."""
    each = torch.eye(len(targets), dtype=targets.dtype, device=targets.device)
    return torch.autograd.grad(targets, layers, each, is_grads_batched=True)


def _normalised(relevance: Tensor) -> Tensor:
    """What others gave to each row, brought to a sum of 1, beside itself (equations 8 and 9)."""
    itself = _identity(relevance.shape[-1], relevance)
    others = relevance - itself
    sums = others.sum(dim=-1, keepdim=True)
    return others / sums.masked_fill(sums == 0, 1) + itself


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)
