"""A captioner of a few words over random memories, for objectives."""

from pathlib import Path
from typing import NamedTuple

import torch

from vlm.formats.captions import CaptionSample
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory, RegionEncoder
from vlm.text.tokenizer import BytePairVocabulary, CaptionTokenizer, WordVocabulary

WIDTH, REGIONS = 12, 5
TEXTS = {
    7: ("A dog runs on the grass.", "a brown dog"),
    3: ("Two cats on a sofa", "two cats sleep", "cats"),
    11: ("A red bus on a street.",),
    5: ("a man rides a bus", "the man rides"),
}


class TinyCaptions(NamedTuple):
    """Everything that an objective is given."""

    captioner: Captioner
    memory: Memory
    samples: list[CaptionSample]
    tokenizer: CaptionTokenizer


def as_samples(texts: dict[int, tuple[str, ...]]) -> list[CaptionSample]:
    return [CaptionSample(key, Path(f"{key}.jpg"), row) for key, row in texts.items()]


def tiny_captions(*, images: int = 3, dropout: float = 0.4, pairs: bool = False) -> TinyCaptions:
    """A captioner in training mode and a batch of the first images of ``TEXTS``."""
    texts = [text for row in TEXTS.values() for text in row]
    vocabulary = BytePairVocabulary(280) if pairs else WordVocabulary(1)
    tokenizer = vocabulary.train(texts)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        encoder = RegionEncoder(7, width=WIDTH, layers=0, heads=2)
        decoder = TextDecoder(
            len(tokenizer), width=WIDTH, layers=2, heads=3, max_length=13, dropout=dropout
        )
        for parameter in decoder.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
        features = torch.randn(images, REGIONS, WIDTH, requires_grad=True)
    memory = Memory(features, torch.ones(images, REGIONS, dtype=torch.bool))
    return TinyCaptions(
        Captioner(encoder, decoder).train(), memory, as_samples(TEXTS)[:images], tokenizer
    )
