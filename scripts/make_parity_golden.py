"""Writes ``tests/goldens/hf_decoder.json``: what Hugging Face's GPT-2 makes of a decoder of ours.

Needs ``pip install -e '.[bench]'``; the test that reads the golden does not, and takes
:func:`parity_case` from here.

    python scripts/make_parity_golden.py
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vlm.decoding import BeamSearch, SpecialTokens
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory

GOLDEN = Path(__file__).parents[1] / "tests" / "goldens" / "hf_decoder.json"
SPECIAL = SpecialTokens(start=0, end=2, pad=1)
SEARCH = BeamSearch(beams=5, max_length=13)
IMAGES, CAPTIONS, REGIONS, LONGEST = 32, 3, 7, 11


class ParityCase(NamedTuple):
    """A decoder, what it looks at, and captions ``(B, C, L)`` to be read."""

    decoder: TextDecoder
    memory: Memory
    tokens: Tensor


def numbers(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Uniform numbers in [-1, 1) that no release of any library can change.

    The integers are those of splitmix64 (Steele et al. 2014, doi:10.1145/2660193.2660195),
    whose state is the index; their upper 24 bits are exact in float32.
    """
    state = np.arange(1, 1 + int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed << 32)
    state *= np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    upper = (state ^ (state >> np.uint64(31))) >> np.uint64(40)
    return torch.from_numpy(upper.astype(np.float32) / 2**23 - 1).view(shape)


def parity_case() -> ParityCase:
    """The same on every machine; sizes differ so that swapped axes cannot pass."""
    decoder = TextDecoder(53, width=24, layers=2, heads=3, max_length=17, dropout=0.0).eval()
    fill(decoder)
    features = numbers((IMAGES, REGIONS, decoder.width), seed=101)
    real = torch.arange(REGIONS) < REGIONS - torch.arange(IMAGES).unsqueeze(1) % 4
    words = (26.5 * (1 + numbers((IMAGES, CAPTIONS, LONGEST), seed=102))).long().clamp(3, 52)
    lengths = torch.arange(IMAGES * CAPTIONS).view(IMAGES, CAPTIONS, 1) % 7 + LONGEST - 7
    positions = torch.arange(LONGEST)
    words[(positions == lengths).expand_as(words)] = SPECIAL.end
    words[(positions > lengths).expand_as(words)] = SPECIAL.pad
    words[..., 0] = SPECIAL.start
    return ParityCase(decoder, Memory(features, real), words)


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Matrices of gain 2, small biases and word embeddings: captions of many lengths and words."""
    for seed, (name, parameter) in enumerate(model.named_parameters()):
        size = 1.0
        if name.startswith("token_embedding"):
            size = 0.3
        elif name.endswith("bias"):
            size = 0.1
        elif parameter.ndim == 2 and not name.startswith("position_embedding"):
            size = (12 / parameter.shape[1]) ** 0.5
        fresh = size * numbers(tuple(parameter.shape), seed=seed)
        parameter.copy_(1 + 0.3 * fresh if "norm.weight" in name else fresh)


def main() -> None:
    """Has GPT-2 read and write, and keeps the numbers."""
    import transformers
    from huggingface import gpt2_beams, gpt2_loss, gpt2_of

    decoder, memory, tokens = parity_case()
    gpt2 = gpt2_of(decoder)
    loss = gpt2_loss(gpt2, tokens, memory, pad=SPECIAL.pad)
    loss.backward()
    last = gpt2.transformer.h[-1].crossattention.c_attn.weight.grad
    versions = f"transformers {transformers.__version__} on torch {torch.__version__}"
    golden = {
        "origin": f"GPT2LMHeadModel and its generate(num_beams=5) in {versions}, "
        "by scripts/make_parity_golden.py",
        "loss": round(loss.item(), 6),
        "embedding_gradient_norm": round(gpt2.transformer.wte.weight.grad.norm().item(), 6),
        "cross_key_value_gradient_norm": round(last.norm().item(), 6),
        "captions": gpt2_beams(gpt2, memory, SEARCH, special=SPECIAL),
    }
    lines = (f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
