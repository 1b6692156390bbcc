"""From regions to the memory that a decoder looks at."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vlm.models.blocks import EncoderBlock
from vlm.models.linear import Linear
from vlm.regions import RegionFeatures


class Memory(NamedTuple):
    """What a decoder may look at, wherever it came from.

    Attributes:
        features: ``(B, N, D)``.
        mask: ``(B, N)`` boolean, True where there is something to look at.
    """

    features: Tensor
    mask: Tensor


def concatenate(memories: Sequence[Memory]) -> Memory:
    """Several memories of the same images as one, along ``N``."""
    return Memory(
        torch.cat([memory.features for memory in memories], dim=1),
        torch.cat([memory.mask for memory in memories], dim=1),
    )


class BoxEmbedding(nn.Module):
    """Where a region is: sines and cosines of its box's four sides, projected.

    Args:
        width: of the embedding, ``D``.
        octaves: frequencies pi, 2 pi, 4 pi, ... a side is read at.
    """

    frequencies: Tensor

    def __init__(self, width: int, *, octaves: int = 6) -> None:
        super().__init__()
        self.register_buffer(
            "frequencies", math.pi * 2.0 ** torch.arange(octaves), persistent=False
        )
        self.project = Linear(4 * 2 * octaves, width)

    def forward(self, boxes: Tensor) -> Tensor:
        """``(B, N, 4)`` boxes in [0, 1] to ``(B, N, D)``."""
        angles = (boxes.unsqueeze(-1) * self.frequencies).flatten(2)
        return self.project(torch.cat([angles.sin(), angles.cos()], dim=-1))


class RegionEncoder(nn.Module):
    """Region features and their boxes, projected and then attended among themselves.

    Args:
        region_width: of the backbone's features.
        width: of the memory, ``D``.
        layers: of self-attention over the regions; 0 only projects.
        heads: ``H`` of every layer.
        dropout: on the projected regions and on every branch, in [0, 1).
    """

    def __init__(
        self,
        region_width: int,
        *,
        width: int = 512,
        layers: int = 3,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.region_width = region_width
        self.width = width
        self.layers = layers
        self.heads = heads
        self.dropout = dropout
        self.norm = nn.LayerNorm(region_width)
        self.project = Linear(region_width, width)
        self.box_embedding = BoxEmbedding(width)
        # What tells a box around something from a cell of the grid; zero, so that it draws
        # nothing from the random numbers and a model of cells alone is the same without it.
        self.box_kind = nn.Parameter(torch.zeros(width))
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(width, heads, dropout=dropout) for _ in range(layers)
        )
        self.output_norm = nn.LayerNorm(width)

    def forward(self, regions: RegionFeatures) -> Memory:
        """The memory of a batch of images, one entry a region."""
        where = self.box_embedding(regions.boxes)
        # Always added: distributed training wants every weight used.
        kinds = 0.0 if regions.kinds is None else regions.kinds.unsqueeze(-1)
        where = where + kinds * self.box_kind
        stored = regions.features.to(self.norm.weight.dtype)  # a store keeps 16-bit floats
        features = self.drop(self.project(self.norm(stored)) + where)
        mask = regions.mask[:, None, None, :]
        for block in self.blocks:
            features = block(features, mask)
        return Memory(self.output_norm(features), regions.mask)


class BlindEncoder(nn.Module):
    """A memory that is the same for every image: the captioner that sees nothing.

    Trained in place of a :class:`RegionEncoder` it shows what a score owes to the
    language of a data set alone.

    Args:
        region_width: of the backbone's features, which are not read.
        width: of the memory, ``D``.
    """

    def __init__(self, region_width: int, *, width: int = 512) -> None:
        super().__init__()
        self.region_width = region_width
        self.width = width
        self.memory = nn.Parameter(torch.randn(1, 1, width))

    def forward(self, regions: RegionFeatures) -> Memory:
        """One learned vector for each image of the batch."""
        batch = len(regions.features)
        return Memory(
            self.memory.expand(batch, -1, -1),
            torch.ones(batch, 1, dtype=torch.bool, device=self.memory.device),
        )
