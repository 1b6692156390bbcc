"""A training step: forward, backward and AdamW."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from huggingface import encoder_decoder_of, next_word_loss
from torch import Tensor, nn
from torch.nn import functional

from routes.floor import matrix_products, run
from routes.ours import cross_entropy
from routes.rounds import OURS, Route, Task
from routes.sizes import PAD, POSITIONS, SPECIAL, Sizes, captioner_of, captions_of, regions_of
from vlm.models.encoder import Memory
from vlm.models.linear import linear


class TorchDecoder(nn.Module):
    """The sizes of our decoder, out of torch's own layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width = sizes.width
        self.words = nn.Embedding(sizes.vocabulary, width)
        self.positions = nn.Embedding(POSITIONS, width)
        layer = nn.TransformerDecoderLayer(
            width, sizes.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, sizes.layers, nn.LayerNorm(width))

    def loss(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Mean cross-entropy of captions ``(B, C, L)``, each a row of its own."""
        repeated = memory.features.repeat_interleave(tokens.shape[1], dim=0)
        rows = tokens.flatten(0, 1)
        length = rows.shape[1] - 1
        text = self.words(rows[:, :-1]) + self.positions.weight[:length]
        causal = nn.Transformer.generate_square_subsequent_mask(length, rows.device)
        text = self.layers(text, repeated, tgt_mask=causal, tgt_is_causal=True)
        logits = functional.linear(text, self.words.weight)
        return functional.cross_entropy(
            logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD
        )


class Learning(NamedTuple):
    """A loss, and the parts whose weights it trains."""

    loss: Callable[[], Tensor]
    parts: tuple[nn.Module, ...]

    def step(self) -> Route:
        """Forward, backward and AdamW.

        The rate is 0, which costs the same and leaves the weights, and so the work, as they
        are. No gradient is left behind.
        """
        parameters = [parameter for part in self.parts for parameter in part.parameters()]
        optimiser = torch.optim.AdamW(parameters, lr=0.0, fused=True)

        def act() -> None:
            self.loss().backward()
            optimiser.step()
            optimiser.zero_grad()

        return act


def learning(sizes: Sizes) -> dict[str, Learning]:
    """Ours, and two usual routes with a copy of our encoder each.

    The usual routes do what is usual: a memory repeated for every caption, captions padded to
    the longest, logits for every position.
    """
    regions, tokens = regions_of(sizes), captions_of(sizes).tokens
    captioner = captioner_of(sizes)
    model = encoder_decoder_of(captioner.decoder, SPECIAL).to(sizes.device)
    usual = TorchDecoder(sizes).to(sizes.device)
    first, second = copy.deepcopy(captioner.encoder), copy.deepcopy(captioner.encoder)

    def ours() -> Tensor:
        return cross_entropy(captioner, captioner.encode(regions), tokens)

    def theirs() -> Tensor:
        return next_word_loss(model, tokens, first(regions), pad=PAD)

    def stock() -> Tensor:
        return usual.loss(tokens, second(regions))

    return {
        OURS: Learning(ours, (captioner,)),
        "Hugging Face": Learning(theirs, (first, model)),
        "nn.TransformerDecoder": Learning(stock, (second, usual)),
    }


def training(sizes: Sizes) -> Task:
    """Those routes, and the matrix multiplications alone."""
    routes = learning(sizes)
    loss, theirs = routes[OURS].loss(), routes["Hugging Face"].loss()
    torch.testing.assert_close(loss, theirs, rtol=1e-5, atol=0)
    products = matrix_products(sizes, captions_of(sizes).real[..., 1:])
    steps = {name: route.step() for name, route in routes.items()}
    steps["GEMM floor"] = run(products, sizes.device, linear)
    steps["GEMM floor, torch's choice"] = run(products, sizes.device, functional.linear)
    operations = sum(product.operations for product in products) / 1e9
    note = f"loss {loss:.4f}, as Hugging Face's; {operations:.1f} GFLOP of matrix products"
    return Task(steps, note)
