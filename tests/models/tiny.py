"""Tiny parts of a captioner, of sizes that are different primes where they may be."""

from typing import TypeVar

import torch
from torch import Tensor, nn

from vlm.decoding import SpecialTokens
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory
from vlm.regions import RegionFeatures

B, C, L, N, V = 2, 3, 5, 7, 17
WIDTH, HEADS, LAYERS, REGION_WIDTH = 15, 3, 2, 11
SPECIAL = SpecialTokens(start=0, end=2, pad=1)

Module = TypeVar("Module", bound=nn.Module)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def enliven(module: Module, *, seed: int = 0) -> Module:
    """Weights that do not depend on chance, and so large that every branch matters."""
    for index, (name, parameter) in enumerate(module.named_parameters()):
        noise = 0.4 * random(*parameter.shape, seed=1000 * seed + index)
        parameter.data = noise + 1 if name.endswith("norm.weight") else noise
    return module.eval()


def decoder(*, text_layers: int = 0, seed: int = 0) -> TextDecoder:
    fresh = TextDecoder(
        V, width=WIDTH, layers=LAYERS, text_layers=text_layers, heads=HEADS, max_length=13
    )
    return enliven(fresh, seed=seed)


def memory(images: int = B, regions: int = N, *, seed: int = 1) -> Memory:
    """Every second image lacks its last two regions."""
    real = regions - 2 * (torch.arange(images) % 2)
    mask = torch.arange(regions) < real.unsqueeze(1)
    return Memory(random(images, regions, WIDTH, seed=seed), mask)


def tokens(*shape: int, seed: int = 2) -> Tensor:
    words = torch.randint(3, V, shape, generator=torch.Generator().manual_seed(seed))
    words[..., 0] = SPECIAL.start
    return words


def read_on(decoder: TextDecoder, memory: Memory, question: Tensor, text: Tensor) -> Tensor:
    """Hidden states ``(T, D)`` of a text ``(T,)`` after a question ``(L,)`` about a single image.

    One sequence under one explicit mask: the question hears all of itself and nothing
    after it, the text hears the question and itself so far.
    """
    tokens, read = torch.cat([question, text]), len(question)
    mask = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    mask[:read, :read] = True
    embedded = decoder.token_embedding(tokens) + decoder.position_embedding.weight[: len(tokens)]
    hidden, projected = embedded.unsqueeze(0), decoder.project(memory)
    for block in decoder.text_blocks:
        hidden = block.feed_forward(block.self_attention(hidden, mask))
    for block, key_values in zip(decoder.blocks, projected.key_values, strict=True):
        hidden = block.self_attention(hidden, mask)
        hidden = block.cross_attention(hidden, key_values, projected.mask)
        hidden = block.feed_forward(hidden)
    return decoder.output_norm(hidden)[0, read:]


def asked() -> tuple[Tensor, Tensor]:
    """Questions ``(B, C, L)`` of several lengths, one of them absent, and where they are real."""
    lengths = torch.tensor([[5, 3, 4], [2, 5, 0]])
    return tokens(B, C, L), torch.arange(L) < lengths.unsqueeze(-1)


def answers() -> Tensor:
    """19 different answers ``(A, T)`` of one to three words; the fourth cannot be written."""
    words = torch.randint(3, V, (19, 5), generator=torch.Generator().manual_seed(7))
    words[:, 0] = SPECIAL.start
    ends = torch.arange(19) % 3 + 2
    words[torch.arange(19), ends] = SPECIAL.end
    words[torch.arange(5) > ends.unsqueeze(1)] = -1
    words[3] = -1
    return words


def regions(images: int = B, count: int = N, *, seed: int = 3) -> RegionFeatures:
    """Every second image lacks its last two regions."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(images, count, 2, 2, generator=generator).sort(dim=2).values
    features = 1 + random(images, count, REGION_WIDTH, seed=seed)
    real = count - 2 * (torch.arange(images) % 2)
    mask = torch.arange(count) < real.unsqueeze(1)
    return RegionFeatures(features, corners.flatten(2), mask)
