"""Occlusion: what a word loses when a region is not there. Slow, and the truth about this model."""

import torch
from torch import Tensor

from vlm.explain.passages import Passage
from vlm.models.encoder import Memory

AT_ONCE = 64  # maskings of an image that are read together


def occlusion(passage: Passage) -> Tensor:
    """How far each word's log-probability falls without each region, ``(W, N)``; 0 where it rises.

    The region is taken from the input of the encoder and not from the decoder's memory: every
    entry of the memory has heard of every region, so that one which is gone from the memory alone
    would still be told of by its neighbours. An image of one region owes it everything.
    """
    real = passage.real
    places = real.nonzero().squeeze(1)
    falls = torch.zeros(len(passage.words), len(real), device=real.device)
    if len(places) < 2:
        falls[:, places] = 1
        return falls
    kept = real.repeat(len(places) + 1, 1)
    kept[torch.arange(len(places), device=real.device), places] = False
    likely = masked_log_probabilities(passage, kept)
    drops = (likely[-1] - likely[:-1]).clamp(min=0).T
    falls[:, places] = passage.of_words(drops)
    return falls


@torch.no_grad()
def masked_log_probabilities(passage: Passage, kept: Tensor) -> Tensor:
    """Log-probabilities of a passage over parts of its image.

    Args:
        passage: over ``N`` regions.
        kept: ``(M, N)`` boolean, the regions that the encoder gets to see; of each row one at
            least.

    Returns:
        ``(M, T)``.
    """
    return torch.cat(
        [passage.log_probabilities(_memory(passage, part)) for part in kept.split(AT_ONCE)]
    )


def _memory(passage: Passage, kept: Tensor) -> Memory:
    """The memories of one image, of which other regions are masked each time."""
    several = passage.regions.each(lambda part: part.expand(len(kept), *part.shape[1:]))
    return passage.network.encode(several._replace(mask=kept))
