"""Our side of what is trained: the objectives that users run."""

import torch
from torch import Tensor
from torch.nn import functional

from routes.rewards import advantages
from routes.sizes import LONGEST, PAD, SPECIAL, START, UNKNOWN
from vlm.decoding import Greedy, Sampling
from vlm.metrics.reward import CiderDReward
from vlm.models.captioner import Captioner
from vlm.models.encoder import Memory
from vlm.training.objectives import CrossEntropy

SAMPLES = 5


def cross_entropy(captioner: Captioner, memory: Memory, tokens: Tensor) -> Tensor:
    """Of captions ``(B, C, L)``, start token first, padded."""
    objective = CrossEntropy(label_smoothing=0.0)
    return objective.loss(captioner, memory, tokens, ignored=(PAD, UNKNOWN))


def self_critical(captioner: Captioner, memory: Memory, reward: CiderDReward) -> Tensor:
    """Samples rewarded beyond the greedy caption, then read once with gradients."""
    with torch.no_grad():
        drawn, greedy = (
            strategy.decode(
                captioner.start(memory),
                batch=len(memory.features),
                special=SPECIAL,
                device=memory.features.device,
            ).tokens
            for strategy in (Sampling(SAMPLES, max_length=LONGEST), Greedy(max_length=LONGEST))
        )
    return weighed_loss(captioner, memory, drawn, advantages(drawn, greedy, reward))


def weighed_loss(captioner: Captioner, memory: Memory, tokens: Tensor, weights: Tensor) -> Tensor:
    """Mean over captions of what their tokens cost together, each by its weight.

    Args:
        captioner: that reads them.
        memory: of the ``B`` images.
        tokens: ``(B, C, L)`` ids, no start token, the end included, padding last.
        weights: ``(B, C)``.
    """
    real = tokens != PAD
    inputs = functional.pad(tokens[..., :-1], (1, 0), value=START)
    hidden = captioner.decoder(inputs, memory, real=real)[real]
    logits = captioner.decoder.logits(hidden).float()
    costs = functional.cross_entropy(logits, tokens[real], reduction="none")
    return (weights.unsqueeze(-1).expand_as(tokens)[real] * costs).sum() / weights.numel()
