"""Captioner: a region encoder and a text decoder, composed."""

import torch
from torch import Tensor, nn

from vlm.errors import InputError
from vlm.models.attention import KeyValues
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
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

    def start(self, memory: Memory) -> "CaptionState":
        """The state from which a strategy of :mod:`vlm.decoding` writes captions."""
        return CaptionState(self.decoder, memory)


class CaptionState:
    """Captions in the making: a :class:`vlm.decoding.DecodingState`.

    The memory is projected once an image and never repeated or reordered; only the
    short keys and values of the words written so far follow their row.

    Args:
        decoder: that writes.
        memory: of the ``B`` images.
    """

    def __init__(self, decoder: TextDecoder, memory: Memory) -> None:
        self._decoder = decoder
        self._memory = decoder.project(memory)
        self._memory_mask = memory.mask
        self._past: list[KeyValues] | None = None
        self._position = 0
        self._rows = 1

    def step(self, tokens: Tensor) -> Tensor:
        """Newest tokens ``(B, K)`` to log-probabilities of the next, ``(B, K, V)`` float32."""
        self._rows = tokens.shape[1]
        hidden, self._past = self._decoder.step(
            tokens,
            position=self._position,
            past=self._past,
            memory=self._memory,
            memory_mask=self._memory_mask,
        )
        self._position += 1
        return self._decoder.logits(hidden).float().log_softmax(dim=-1)

    def reorder(self, rows: Tensor) -> None:
        """Row ``k`` of image ``b`` goes on from its old row ``rows[b, k]``; ``(B, K')``."""
        if self._past is None:
            return
        first = torch.arange(len(rows), device=rows.device).unsqueeze(1) * self._rows
        flat = (first + rows).flatten()
        self._past = [past.select(flat) for past in self._past]
        self._rows = rows.shape[1]
