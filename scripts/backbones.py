"""The tables of docs/backbones.md: what backbones make of an image, and of COCO on the disk.

Networks are built without weights and without memory, so that the largest take a second each
and nothing is fetched:

    python scripts/backbones.py
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from vlm.data.store.shard import Layout
from vlm.models.backbone import FrozenBackbone

COCO_IMAGES = 123_287  # of train2014 and val2014, which Karpathy's splits divide
# The largest number of weights, in millions, of each tier.
TIERS = {"Laptop": 30.0, "One GPU": 150.0, "Best": float("inf")}
HEADER = (
    "| timm name | pixels | grid | regions | width | weights (M) | float16 (GB) | int8 (GB) | |",
    "|---|---|---|---|---|---|---|---|---|",
)


class Choice(NamedTuple):
    """A backbone and how it is asked to look.

    Attributes:
        name: of timm's, with the tag of its weights.
        image_size: pixels a side; its own when None.
        pool: rows and columns that its map is averaged down to.
        note: who uses it, for the last column.
    """

    name: str
    image_size: int | None = None
    pool: int | None = None
    note: str = ""

    @property
    def options(self) -> str:
        """What ``vlm extract`` is given beside the name."""
        asked = {"--image-size": self.image_size, "--pool": self.pool}
        return " ".join(f"{option} {value}" for option, value in asked.items() if value)


class Look(NamedTuple):
    """What a backbone makes of one image.

    Attributes:
        image_size: (height, width) in pixels.
        grid: (rows, columns) of the regions.
        width: numbers that a region has.
        weights: of the network, in millions.
    """

    image_size: tuple[int, int]
    grid: tuple[int, int]
    width: int
    weights: float

    @property
    def regions(self) -> int:
        """Of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def tier(self) -> str:
        """By the number of weights."""
        return next(name for name, most in TIERS.items() if self.weights <= most)

    def store_bytes(self, dtype: str) -> int:
        """Of one view of COCO in a store; its index adds less than a hundredth."""
        layout = Layout(dtype, self.width, self.grid)
        return COCO_IMAGES * self.regions * layout.region_bytes


CHOICES = (
    Choice("tf_efficientnet_lite0.in1k", note="`configs/flickr8k.yaml`; run here"),
    Choice("mobilenetv4_conv_small.e2400_r224_in1k"),
    Choice("vit_tiny_patch16_224.augreg_in21k"),
    Choice("fastvit_mci0.apple_mclip2_dfndr2b", note="MobileCLIP 2"),
    Choice("vit_small_patch16_dinov3.lvd1689m", note="DINOv3"),
    Choice("convnext_tiny.dinov3_lvd1689m", note="DINOv3"),
    Choice("resnet50_clip_gap.openai", note="CLIP"),
    Choice("resnet50_clip_gap.openai", 448, note="CLIP as in CLIP-ViL"),
    Choice("resnet101_clip_gap.openai", note="CLIP"),
    Choice("resnet101_clip_gap.openai", 448, note="CLIP as in CLIP-ViL"),
    Choice("resnet50x4_clip_gap.openai", note="CLIP; `configs/coco_clip.yaml`"),
    Choice("resnet50x4_clip_gap.openai", 448, note="CLIP as in CLIP-ViL"),
    Choice("resnet50x16_clip_gap.openai", note="CLIP"),
    Choice("resnet50x64_clip_gap.openai", note="CLIP"),
    Choice("vit_base_patch32_clip_224.openai", note="CLIP as in SmallCap, whose 50th is the class"),
    Choice("vit_large_patch14_clip_336.openai", note="CLIP"),
    Choice("vit_base_patch32_siglip_256.v2_webli", note="SigLIP 2"),
    Choice("vit_base_patch16_siglip_224.v2_webli", note="SigLIP 2"),
    Choice("vit_base_patch16_siglip_256.v2_webli", note="SigLIP 2; `configs/coco_siglip2.yaml`"),
    Choice("vit_base_patch16_siglip_384.v2_webli", note="SigLIP 2"),
    Choice("vit_large_patch16_siglip_256.v2_webli", note="SigLIP 2"),
    Choice("vit_large_patch16_siglip_384.v2_webli", note="SigLIP 2"),
    Choice("vit_so400m_patch14_siglip_378.v2_webli", note="SigLIP 2"),
    Choice("vit_so400m_patch16_siglip_384.v2_webli", note="SigLIP 2"),
    Choice("vit_so400m_patch16_siglip_384.v2_webli", pool=12, note="SigLIP 2, a quarter of it"),
    Choice("vit_base_patch16_dinov3.lvd1689m", note="DINOv3"),
    Choice("vit_large_patch16_dinov3.lvd1689m", note="DINOv3"),
    Choice("eva02_base_patch14_224.mim_in22k", note="EVA-02"),
    Choice("eva02_base_patch14_448.mim_in22k_ft_in22k_in1k", note="EVA-02"),
    Choice("eva02_base_patch16_clip_224.merged2b", note="EVA-02 CLIP"),
    Choice("eva02_large_patch14_clip_336.merged2b", note="EVA-02 CLIP"),
    Choice("eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", note="EVA-02"),
    Choice("eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", pool=16, note="a quarter of it"),
    Choice("convnext_base.clip_laion2b", note="OpenCLIP"),
    Choice("convnext_large_mlp.clip_laion2b_ft_soup_320", note="OpenCLIP"),
    Choice("swin_large_patch4_window12_384.ms_in22k_ft_in1k", note="as in PureT"),
)


def look(choice: Choice) -> Look:
    """What a backbone makes of an image, by :class:`vlm.models.FrozenBackbone` itself."""
    with torch.device("meta"):  # shapes without numbers
        backbone = FrozenBackbone(
            choice.name, pretrained=False, image_size=choice.image_size, pool=choice.pool
        )
    weights = sum(tensor.numel() for tensor in backbone.travelling()["state"].values())
    return Look(backbone.image_size, backbone.grid, backbone.width, weights / 1e6)


def row(choice: Choice, found: Look) -> str:
    """A line of a table."""
    name = f"`{choice.name}`"
    if choice.options:
        name += f" `{choice.options}`"
    cells = [
        name,
        " x ".join(map(str, found.image_size)),
        " x ".join(map(str, found.grid)),
        f"{found.regions:,}",
        f"{found.width:,}",
        f"{found.weights:.1f}",
        *(f"{found.store_bytes(dtype) / 1e9:.1f}" for dtype in ("float16", "int8")),
        choice.note,
    ]
    return f"| {' | '.join(cells)} |"


def tables(choices: Sequence[Choice]) -> Iterator[str]:
    """A heading and a table for each tier, the smallest store first."""
    seen = [(choice, look(choice)) for choice in choices]
    seen.sort(key=lambda pair: pair[1].store_bytes("float16"))
    for tier in TIERS:
        lines = [row(choice, found) for choice, found in seen if found.tier == tier]
        yield "\n".join([f"## {tier}", "", *HEADER, *lines])


if __name__ == "__main__":
    print(*tables(CHOICES), sep="\n\n")
