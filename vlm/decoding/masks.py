"""What a row may not say next, as -inf written into scores (B, K, V) in place."""

from math import inf

import torch
from torch import Tensor

from vlm.decoding.strategy import SpecialTokens


def forbid_special(scores: Tensor, special: SpecialTokens, *, end: bool) -> None:
    """Forbid the start, pad and unknown tokens, and the end token if asked.

    Args:
        scores: ``(B, K, V)``, changed in place.
        special: where start or pad equal end, only ``end`` decides about them.
        end: whether it is too early to end.
    """
    scores[..., special.never] = -inf
    if end:
        scores[..., special.end] = -inf


def forbid_repetition(scores: Tensor, tokens: Tensor, n: int) -> None:
    """Forbid what would complete an n-gram that the row already holds.

    Args:
        scores: ``(B, K, V)``, changed in place.
        tokens: ``(B, K, length)`` long, what every row has said.
        n: tokens in an n-gram, at least 1.
    """
    length = tokens.shape[-1]
    if length < n:
        return
    ngrams = tokens.unfold(-1, n, 1)
    newest = tokens[..., length - n + 1 :].unsqueeze(-2)
    repeats = (ngrams[..., :-1] == newest).all(-1)
    # Adding 0 leaves the others alone, and no order of additions can undo an infinity.
    scores.scatter_add_(-1, ngrams[..., -1], torch.where(repeats, -inf, 0.0))
