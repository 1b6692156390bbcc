"""What is measured on: sizes, batches that are made up, and a captioner of random weights."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from make_parity_golden import fill
from torch import Tensor

from vlm.decoding import SpecialTokens
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import RegionEncoder
from vlm.regions import RegionFeatures

REGION_WIDTH, POSITIONS, LONGEST = 768, 32, 20  # of a ViT-B/16; embedded; tokens written at most
ANSWERS = 3129  # in the usual vocabulary of VQA v2
PAD, START, END, UNKNOWN, FIRST_WORD = range(5)
SPECIAL = SpecialTokens(start=START, end=END, pad=PAD, unknown=UNKNOWN)
# Of a hundred texts, how many have so many tokens, the one per cent that is longer taken as one
# length: captions of COCO val2017, in words; questions of VQA v2, start and end included.
CAPTION_LENGTHS = {7: 1, 8: 16, 9: 22, 10: 22, 11: 15, 12: 10, 13: 6, 14: 3, 15: 2, 16: 1, 17: 1}
CAPTION_LENGTHS[21] = 1
QUESTION_LENGTHS = {5: 3, 6: 11, 7: 26, 8: 19, 9: 20, 10: 10, 11: 5, 12: 3, 13: 1, 14: 1, 16: 1}


class Sizes(NamedTuple):
    """Of one measurement.

    Attributes:
        images: a batch, ``B``.
        texts: captions or questions an image, ``C``.
        regions: an image, ``N``.
        beams: of the beam search, ``K``.
        vocabulary: ``V``.
        width: ``D``, of everything but the regions.
        heads: ``H``.
        layers: of the decoder.
        shortest: fewest tokens of a caption that is written, before its end.
        device: that computes.
    """

    images: int = 32
    texts: int = 5
    regions: int = 196
    beams: int = 5
    vocabulary: int = 10_000
    width: int = 512
    heads: int = 8
    layers: int = 3
    shortest: int = 1
    device: torch.device = torch.device("cpu")


class Texts(NamedTuple):
    """Token ids and which of them are no padding, both ``(B, C, L)``."""

    tokens: Tensor
    real: Tensor


def seeded() -> torch.Generator:
    """The same random numbers every time."""
    return torch.Generator().manual_seed(0)


def regions_of(sizes: Sizes) -> RegionFeatures:
    """Random features in random boxes, all of them there."""
    shape, generator = (sizes.images, sizes.regions), seeded()
    features = torch.randn(*shape, REGION_WIDTH, generator=generator)
    corners = torch.rand(*shape, 2, 2, generator=generator).sort(dim=2).values
    there = torch.ones(shape, dtype=torch.bool)
    return RegionFeatures(features, corners.flatten(2), there).each(lambda x: x.to(sizes.device))


def captions_of(sizes: Sizes) -> Texts:
    """Captions of the lengths that people write, start and end around them."""
    return _texts(sizes, {words + 2: share for words, share in CAPTION_LENGTHS.items()})


def questions_of(sizes: Sizes) -> Texts:
    """Questions of the lengths that people ask, start and end around them."""
    return _texts(sizes, QUESTION_LENGTHS)


def _texts(sizes: Sizes, shares: dict[int, int]) -> Texts:
    """Words drawn by Zipf's law, so that some are as common as ``a`` is."""
    generator, shape = seeded(), (sizes.images, sizes.texts)
    lengths = torch.tensor([*shares])[_draw([*shares.values()], shape, generator)].unsqueeze(-1)
    positions = torch.arange(int(lengths.max()))
    often = (1 / torch.arange(1.0, sizes.vocabulary - FIRST_WORD + 1)).tolist()
    tokens = FIRST_WORD + _draw(often, (*shape, len(positions)), generator)
    tokens[(positions == lengths - 1).expand_as(tokens)] = END
    tokens[..., 0] = START
    real = positions < lengths
    return Texts(tokens.where(real, PAD).to(sizes.device), real.to(sizes.device))


def _draw(often: Sequence[float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Places in a list of how often each is to be drawn."""
    size, weights = math.prod(shape), torch.tensor(often, dtype=torch.float)
    return weights.multinomial(size, replacement=True, generator=generator).view(shape)


def captioner_of(sizes: Sizes) -> Captioner:
    """A captioner without dropout whose captions differ by image and end after some ten words.

    Its regions are projected only, as the routes beside it do the same with a copy.
    """
    width, heads = sizes.width, sizes.heads
    encoder = RegionEncoder(REGION_WIDTH, width=width, layers=0, heads=heads, dropout=0.0)
    decoder = TextDecoder(
        sizes.vocabulary,
        width=width,
        layers=sizes.layers,
        heads=heads,
        max_length=POSITIONS,
        dropout=0.0,
    )
    fill(encoder)
    fill(decoder)
    with torch.no_grad():  # later positions are ever closer to the end
        lateness = 1.0 * torch.arange(POSITIONS).unsqueeze(1)
        decoder.position_embedding.weight += lateness * decoder.token_embedding.weight[END]
    return Captioner(encoder, decoder).to(sizes.device)
