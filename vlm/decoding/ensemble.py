"""EnsembleState: several models write one text."""

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

from vlm.decoding.strategy import DecodingState


class EnsembleState:
    """Several states as one, whose probabilities are the mean of theirs: a DecodingState.

    Args:
        states: fresh, of the same ``B`` images and over one vocabulary; at least one.
    """

    def __init__(self, states: Sequence[DecodingState]) -> None:
        self._states = states

    def step(self, tokens: Tensor) -> Tensor:
        """Newest tokens ``(B, K)`` to log-probabilities of the next, ``(B, K, V)``."""
        each = torch.stack([state.step(tokens) for state in self._states])
        return each.logsumexp(0) - log(len(self._states))

    def reorder(self, rows: Tensor) -> None:
        """New row ``k`` of image ``b`` goes on from its old row ``rows[b, k]``; ``(B, K')``."""
        for state in self._states:
            state.reorder(rows)

    def keep(self, wanted: Tensor) -> Tensor:
        """Leaves no image out: the states would have to agree which."""
        return torch.ones_like(wanted)
