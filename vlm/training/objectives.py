"""What training minimises: an objective is an object, chosen by name in YAML."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from vlm.errors import InputError
from vlm.models.captioner import Captioner
from vlm.models.encoder import Memory


class Objective(ABC):
    """A loss of a captioner on images and their captions."""

    @abstractmethod
    def loss(
        self,
        captioner: Captioner,
        memory: Memory,
        tokens: Tensor,
        *,
        ignored: tuple[int, int],
    ) -> Tensor:
        """The scalar to minimise.

        Args:
            captioner: in training mode or not; the caller decides.
            memory: of ``B`` images, from the captioner's own encoder.
            tokens: ``(B, C, L)`` captions, start token first, padded.
            ignored: ids that are never a target: padding, which is not read either, and
                unknown words, which the captioner shall not learn to write.
        """


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Mean label-smoothed cross-entropy over all words of the batch, ends included.

    Attributes:
        label_smoothing: share of the target spread over the vocabulary, in [0, 1)
            (Szegedy et al. 2016, arXiv:1512.00567, section 7).

    Raises:
        InputError: if ``label_smoothing`` is out of range.
    """

    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise InputError(
                f"CrossEntropy was given label_smoothing={self.label_smoothing}; "
                "expected a value in [0, 1)"
            )

    def loss(
        self,
        captioner: Captioner,
        memory: Memory,
        tokens: Tensor,
        *,
        ignored: tuple[int, int],
    ) -> Tensor:
        """The mean over all targets; logits exist for real words alone."""
        inputs, targets = tokens[..., :-1], tokens[..., 1:]
        padding, unknown = ignored
        real = targets != padding
        hidden = captioner.decoder(inputs, memory, real=real)
        counted = real & (targets != unknown)
        logits = captioner.decoder.logits(hidden[counted]).float()
        return functional.cross_entropy(
            logits, targets[counted], label_smoothing=self.label_smoothing
        )
