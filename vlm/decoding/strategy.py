"""Strategy and what every strategy meets: the state it searches, the sequences it returns."""

from abc import ABC, abstractmethod
from math import inf
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vlm.errors import InputError


class SpecialTokens(NamedTuple):
    """Ids of the tokens that are no words; ``start`` and ``pad`` may equal ``end``.

    Attributes:
        start: begins every sequence and is never chosen.
        end: closes a sequence.
        pad: fills up after it and is never chosen.
        unknown: stands for words out of the vocabulary and is never chosen; None if all
            text can be written.
    """

    start: int
    end: int
    pad: int
    unknown: int | None = None

    @property
    def never(self) -> list[int]:
        """The ids that are never chosen, ascending; where start or pad equal end, they are not."""
        return sorted({self.start, self.pad, self.unknown} - {self.end, None})


class DecodingState(Protocol):
    """B images, each decoded in K rows that share its memory; a fresh state has K = 1."""

    def step(self, tokens: Tensor) -> Tensor:
        """Read one token a row and predict the next.

        Args:
            tokens: ``(B, K)`` long, the newest token of every row. Rows that have ended go
                on with arbitrary ids below V; what is predicted for them is ignored.

        Returns:
            ``(B, K, V)`` float32, normalised log-probabilities of the next token.
        """
        ...

    def reorder(self, rows: Tensor) -> None:
        """Let new row ``k`` of image ``b`` continue old row ``rows[b, k]``.

        Args:
            rows: ``(B, K')`` long in [0, K); K' may differ from K.
        """
        ...

    def keep(self, wanted: Tensor) -> Tensor:
        """Leave out what is not wanted any more, or some of it, if that saves work.

        Args:
            wanted: ``(B,)`` boolean.

        Returns:
            ``(B,)``, True for the images that there are from now on; all that are wanted are.
        """
        ...


class Decoded(NamedTuple):
    """R sequences for each of B images, best first; L is the length of the longest.

    Nothing carries gradients: training reads sequences once more, teacher-forced.
    Where fewer than R sequences exist (tiny vocabularies, everything forbidden) the missing
    ones come last, with length 0 and score -inf.

    Attributes:
        tokens: ``(B, R, L)`` long, without the start token, with the end token where it was
            reached, then ``pad``.
        lengths: ``(B, R)`` long, number of tokens, end included.
        log_probabilities: ``(B, R, L)`` of each token under the model itself, whatever was
            forbidden and at temperature 1; 0 where padded.
        scores: ``(B, R)`` what the strategy ranks by.
    """

    tokens: Tensor
    lengths: Tensor
    log_probabilities: Tensor
    scores: Tensor

    @property
    def sums(self) -> Tensor:
        """``(B, R)`` log-probability of each sequence, end included; -inf where missing."""
        return self.log_probabilities.sum(-1).masked_fill(self.lengths == 0, -inf)


class Strategy(ABC):
    """A way to choose sequences by the log-probabilities of a DecodingState.

    Attributes:
        max_length: most tokens of a sequence, end included.
    """

    max_length: int

    @abstractmethod
    def decode(
        self, state: DecodingState, *, batch: int, special: SpecialTokens, device: torch.device
    ) -> Decoded:
        """Decode ``batch`` images from a fresh ``state`` on ``device``."""


def require(strategy: Strategy, option: str, allowed: str, *, holds: bool) -> None:
    """Refuse an option's value unless ``holds``.

    Raises:
        InputError: naming the strategy, the option, its value and what is ``allowed``.
    """
    if not holds:
        raise InputError(
            f"{type(strategy).__name__} was given {option}={getattr(strategy, option)}, which is "
            f"out of range; give a value {allowed}."
        )


def take(tensor: Tensor, index: Tensor) -> Tensor:
    """Entries ``index`` ``(B, M')`` of the second axis of ``tensor`` ``(B, M, ...)``."""
    rest = tensor.shape[2:]
    return tensor.gather(1, index.view(*index.shape, *[1] * len(rest)).expand(*index.shape, *rest))
