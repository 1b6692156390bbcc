"""Recording: a network whose every attention keeps its weights while it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from vlm.models.answerer import QuestionAnswerer
from vlm.models.attention import KeyValues, MultiHeadAttention
from vlm.models.blocks import AttentionBranch, EncoderBlock
from vlm.models.captioner import Captioner
from vlm.models.encoder import RegionEncoder


class Looks(NamedTuple):
    """Where everything looked in one pass, one tensor a layer, the first layer first.

    Attributes:
        regions: of the encoder's self-attention, ``(B, H, N, N)``.
        text: of the decoder's self-attention, ``(B, H, L, L)``; layers that look at the text
            alone come first, so that there may be more than of ``cross``.
        cross: of the decoder's cross-attention, ``(B, H, L, N)``.
    """

    regions: list[Tensor]
    text: list[Tensor]
    cross: list[Tensor]

    def map(self, change: Callable[[Tensor], Tensor]) -> "Looks":
        """Each tensor changed alike."""
        return Looks(*([change(layer) for layer in kind] for kind in self))


@contextmanager
def recorded(network: Captioner | QuestionAnswerer) -> Iterator[Looks]:
    """Within it, attention goes the explicit way and keeps its weights.

    The weights are part of what autograd sees, so that a result can be differentiated by them.
    The models themselves know nothing of it.

    Yields:
        what is filled, call by call.
    """
    looks, decoder = Looks([], [], []), network.decoder
    encoder = cast(RegionEncoder, network.encoder)  # a blind one makes no passage
    layers, text = cast(Sequence[EncoderBlock], encoder.blocks), decoder.text_blocks
    kept: list[tuple[AttentionBranch, list[Tensor]]] = []
    kept += [(layer.self_attention, looks.regions) for layer in layers]
    kept += [(layer.self_attention, looks.text) for layer in (*text, *decoder.blocks)]
    kept += [(layer.cross_attention, looks.cross) for layer in decoder.blocks]
    with ExitStack() as stack:
        for branch, place in kept:
            handle = branch.attention.register_forward_hook(_keeping(place))
            stack.callback(handle.remove)
        yield looks


def _keeping(place: list[Tensor]) -> Callable[..., Tensor]:
    """A hook that computes an attention anew, written out, and keeps its weights."""

    def hook(module: MultiHeadAttention, arguments: tuple[Any, ...], output: Tensor) -> Tensor:
        del output
        key_values: KeyValues = arguments[1]
        weights = module.weights(*arguments)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()
        place.append(weights)
        return module.gather(weights @ key_values.values, *arguments[3:])

    return hook
