"""A self-critical step: captions drawn, rewarded by CIDEr-D, and read with gradients.

Rennie et al. 2017 (arXiv:1612.00563), the greedy caption's reward being the baseline.
"""

import copy

import torch
from huggingface import encoder_decoder_of, weighed_loss, write
from torch import Tensor

from routes import ours
from routes.rewards import advantages, rewards_of
from routes.rounds import OURS, Task
from routes.sizes import LONGEST, PAD, SPECIAL, Sizes, captioner_of, captions_of, regions_of
from routes.training import Learning


def self_critical(sizes: Sizes) -> Task:
    """Ours, and ``generate`` twice with pycocoevalcap's reward; both draw anew every time."""
    captioner, regions, rewards = captioner_of(sizes), regions_of(sizes), rewards_of(sizes)
    model = encoder_decoder_of(captioner.decoder, SPECIAL).to(sizes.device)
    encoder = copy.deepcopy(captioner.encoder)

    objective, cost = ours.self_critical_of(sizes, rewards.references)

    def own() -> Tensor:
        return cost(captioner, captioner.encode(regions))

    def theirs() -> Tensor:
        memory = encoder(regions)
        sampling = {"do_sample": True, "top_k": 0, "num_return_sequences": ours.SAMPLES}
        drawn, greedy = (
            write(model, memory, special=SPECIAL, max_length=LONGEST, **how)
            for how in (sampling, {"do_sample": False, "min_new_tokens": 1})
        )
        weights = advantages(drawn, greedy, rewards.official)
        return weighed_loss(model, drawn, memory, weights, special=SPECIAL)

    tokens = captions_of(sizes).tokens[..., 1:]
    weights = torch.linspace(-1, 1, tokens[..., 0].numel(), device=sizes.device)
    weights = weights.view(tokens.shape[:2])
    memory = encoder(regions)
    real = tokens != PAD
    torch.testing.assert_close(
        objective.surrogate(captioner, memory, tokens, real.sum(-1), weights, special=SPECIAL),
        weighed_loss(model, tokens, memory, weights, special=SPECIAL),
        rtol=1e-4,
        atol=1e-3,
    )
    routes = {
        OURS: Learning(own, (captioner,)).step(),
        "Hugging Face": Learning(theirs, (encoder, model)).step(),
    }
    return Task(routes, f"{ours.SAMPLES} samples; on the same captions the losses agree")
