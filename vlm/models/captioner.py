"""Captioner: a region encoder and a text decoder, composed."""

from torch import Tensor, nn

from vlm.errors import InputError
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
from vlm.models.writing import WritingState
from vlm.regions import RegionFeatures


def require_one_width(encoder: RegionEncoder | BlindEncoder, decoder: TextDecoder) -> None:
    """Holds that a decoder can look at an encoder's memory.

    Raises:
        InputError: if the memory's width is not the decoder's.
    """
    if encoder.width != decoder.width:
        raise InputError(
            "encoder and decoder must have one width, "
            f"got encoder.width={encoder.width}, decoder.width={decoder.width}"
        )


class Captioner(nn.Module):
    """Writes about regions: encode once, then read captions or write new ones.

    Args:
        encoder: regions to memory.
        decoder: tokens over a memory.

    Raises:
        InputError: if the memory's width is not the decoder's.
    """

    def __init__(self, encoder: RegionEncoder | BlindEncoder, decoder: TextDecoder) -> None:
        super().__init__()
        require_one_width(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, regions: RegionFeatures) -> Memory:
        """The memory of a batch of images."""
        return self.encoder(regions)

    def forward(
        self, regions: RegionFeatures, tokens: Tensor, *, real: Tensor | None = None
    ) -> Tensor:
        """Hidden states ``(B, C, L, D)`` of captions ``(B, C, L)``, teacher-forced.

        Where ``real`` ``(B, C, L)`` is False the text is padding and costs nothing.
        """
        return self.decoder(tokens, self.encode(regions), real=real)

    def start(self, memory: Memory) -> WritingState:
        """The state from which a strategy of :mod:`vlm.decoding` writes captions."""
        return WritingState(self.decoder, self.decoder.project(memory))
