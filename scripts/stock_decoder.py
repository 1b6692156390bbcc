"""Trains ``torch.nn.TransformerDecoder``, used as one would without this project, on the same data.

The usual route: the memory repeated for every caption, captions padded to the longest of the
batch, no cache while decoding. Everything else (features, objective, optimiser, scores) is the
project's own, so that only the decoder differs:

    python scripts/stock_decoder.py --config configs/flickr8k.yaml --trainer.max_epochs 6
"""

import sys

import torch
from torch import Tensor, nn

from vlm.cli import main
from vlm.models.attention import KeyValues
from vlm.models.cache import TextCache
from vlm.models.decoder import ProjectedMemory, TextDecoder
from vlm.models.encoder import Memory


class StockDecoder(TextDecoder):
    """PyTorch's own decoder stack in the place of ours, with the same embeddings and sizes."""

    def __init__(
        self,
        vocabulary_size: int,
        *,
        width: int = 512,
        layers: int = 3,
        heads: int = 8,
        max_length: int = 64,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            vocabulary_size,
            width=width,
            layers=layers,
            heads=heads,
            max_length=max_length,
            dropout=dropout,
        )
        self.blocks = nn.ModuleList()
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.stack = nn.TransformerDecoder(layer, layers)

    def project(self, memory: Memory) -> ProjectedMemory:
        """The memory as it is; the stack projects it anew at every call."""
        plain = KeyValues(memory.features, memory.features)
        return ProjectedMemory([plain], memory.mask[:, None, None, :])

    def forward(self, tokens: Tensor, memory: Memory, *, real: Tensor | None = None) -> Tensor:
        """``(B, C, L)`` ids to ``(B, C, L, D)``, padding read like everything else."""
        rows = self._read(tokens.flatten(0, 1), memory.features, memory.mask)
        return rows.unflatten(0, tokens.shape[:2])

    def step(
        self, tokens: Tensor, *, positions: Tensor, cache: TextCache, memory: ProjectedMemory
    ) -> Tensor:
        """Reads the whole prefix again for one more token a row; the cache holds tokens alone."""
        del positions  # of captions, which start from nothing and do not pad
        heard = cache.widen(tokens.shape[1]).squeeze(1)
        newest = tokens[:, None, :, None]
        written = cache.extend(0, KeyValues(newest, newest)).keys.flatten(1)
        prefix = written.unsqueeze(1).expand_as(heard)[heard].view(-1, cache.length)
        hidden = self._read(prefix, memory.key_values[0].keys, memory.mask.flatten(1))[:, -1]
        return hidden.unflatten(0, tokens.shape)

    def _read(self, rows: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        repeats = len(rows) // len(memory)
        positions = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
        hidden = self.stack(
            self._embed(rows, positions),
            memory.repeat_interleave(repeats, dim=0),
            tgt_mask=nn.Transformer.generate_square_subsequent_mask(rows.shape[1]),
            memory_key_padding_mask=~memory_mask.repeat_interleave(repeats, dim=0),
            tgt_is_causal=True,
        )
        return self.output_norm(hidden)


if __name__ == "__main__":
    decoder = ["--model.decoder", "stock_decoder.StockDecoder", "--model.encoder.layers", "0"]
    sys.exit(main(["fit", *sys.argv[1:], *decoder]))
