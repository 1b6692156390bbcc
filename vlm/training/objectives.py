"""What training minimises: an objective is an object, chosen by name in YAML."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vlm.errors import InputError
from vlm.models.captioner import Captioner
from vlm.models.cross_entropy import linear_cross_entropy
from vlm.models.encoder import Memory
from vlm.text.tokenizer import CaptionTokenizer


class Loss(NamedTuple):
    """What one batch costs, and what else there is to know of it.

    Attributes:
        value: the scalar to minimise.
        logged: further numbers by name.
    """

    value: Tensor
    logged: Mapping[str, float | Tensor] = MappingProxyType({})


class Objective(ABC):
    """A loss of a captioner on images and their captions."""

    # Of what is minimised, in one line, where published numbers depend on it.
    signature: str = ""
    # Most tokens of a caption that the objective has written.
    max_length: int = 0

    def prepare(
        self,
        samples: Sequence[Any],
        tokenizer: CaptionTokenizer,
        *,
        untaught: Collection[int] = (),
    ) -> None:
        """Looks at the whole training set, once before the first step; most have no need to.

        Args:
            samples: all images of the training split with their captions.
            tokenizer: of the captioner's text.
            untaught: ids of tokens that the checkpoint a training starts from does not have.
        """
        del samples, tokenizer, untaught

    @abstractmethod
    def loss(
        self,
        captioner: Captioner,
        memory: Memory,
        samples: Sequence[Any],
        tokenizer: CaptionTokenizer,
    ) -> Loss:
        """What a batch costs; 0 where no image has a caption.

        Args:
            captioner: in training mode or not; the caller decides.
            memory: of ``B`` images, from the captioner's own encoder, with gradients.
            samples: the ids of the images and their captions.
            tokenizer: of the captioner's text.
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
        samples: Sequence[Any],
        tokenizer: CaptionTokenizer,
    ) -> Loss:
        """The mean over all targets."""
        captions = [list(sample.captions) for sample in samples]
        if not any(captions):
            return Loss(nothing(memory, captioner.decoder))
        tokens = tokenizer.batch(captions, max_length=captioner.decoder.max_length)
        device_tokens = torch.from_numpy(tokens).to(memory.features.device)
        ignored = (tokenizer.pad, tokenizer.unknown)
        return Loss(self.of_tokens(captioner, memory, device_tokens, ignored=ignored))

    def of_tokens(
        self, captioner: Captioner, memory: Memory, tokens: Tensor, *, ignored: tuple[int, int]
    ) -> Tensor:
        """The mean over all targets of captions in ids; logits exist for real words alone.

        Args:
            captioner: whose decoder reads them.
            memory: of ``B`` images.
            tokens: ``(B, C, L)`` captions, start token first, padded.
            ignored: ids that are never a target: padding, which is not read either, and
                unknown words, which the captioner shall not learn to write.
        """
        inputs, targets = tokens[..., :-1], tokens[..., 1:]
        padding, unknown = ignored
        real = targets != padding
        hidden = captioner.decoder(inputs, memory, real=real)
        counted = real & (targets != unknown)
        words, count = captioner.decoder.token_embedding.weight, counted.sum()
        return linear_cross_entropy(
            hidden[counted],
            words,
            targets[counted],
            words.new_ones(int(count)) / count,
            label_smoothing=self.label_smoothing,
        )


def nothing(memory: Memory, *parts: nn.Module) -> Tensor:
    """A loss of 0 where there is nothing to learn.

    It still has a gradient, 0: distributed training wants every weight of all parts used.
    """
    weights = (weight.sum() for part in parts for weight in part.parameters())
    return (memory.features.sum() + sum(weights)) * 0
