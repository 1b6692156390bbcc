"""A training step: forward, backward and AdamW."""

import copy
from collections.abc import Callable

import torch
from huggingface import encoder_decoder_of, next_word_loss
from torch import Tensor, nn
from torch.nn import functional

from routes.floor import matrix_products, run
from routes.ours import cross_entropy
from routes.rounds import OURS, Route, Task
from routes.sizes import POSITIONS, SPECIAL, Sizes, captioner_of, captions_of, regions_of
from vlm.models.encoder import Memory


class TorchDecoder(nn.Module):
    """The sizes of our decoder, out of torch's own layers."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.words = nn.Embedding(sizes.vocabulary, sizes.width)
        self.positions = nn.Embedding(POSITIONS, sizes.width)
        layer = nn.TransformerDecoderLayer(
            sizes.width, sizes.heads, 4 * sizes.width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, sizes.layers, nn.LayerNorm(sizes.width))

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
            logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=SPECIAL.pad
        )


def training(sizes: Sizes) -> Task:
    """Ours, two usual routes with a copy of our encoder each, and the matrix products alone.

    The usual routes do what is usual: a memory repeated for every caption, captions padded to
    the longest, logits for every position.
    """
    regions, tokens = regions_of(sizes), captions_of(sizes).tokens
    captioner = captioner_of(sizes)
    model = encoder_decoder_of(captioner.decoder, SPECIAL).to(sizes.device)
    usual = TorchDecoder(sizes).to(sizes.device)
    encoder, encoder_too = copy.deepcopy(captioner.encoder), copy.deepcopy(captioner.encoder)

    def ours() -> Tensor:
        return cross_entropy(captioner, captioner.encode(regions), tokens)

    def theirs() -> Tensor:
        return next_word_loss(model, tokens, encoder(regions), pad=SPECIAL.pad)

    loss = ours()
    torch.testing.assert_close(loss, theirs(), rtol=1e-5, atol=0)
    products = matrix_products(sizes, tokens[..., 1:] != SPECIAL.pad)
    routes = {
        OURS: step(ours, captioner),
        "Hugging Face": step(theirs, encoder, model),
        "nn.TransformerDecoder": step(lambda: usual.loss(tokens, encoder_too(regions)), encoder_too, usual),
        "GEMM floor": run(products, sizes.device),
    }
    return Task(routes, f"loss {loss:.4f}, as Hugging Face's")


def step(loss: Callable[[], Tensor], *models: nn.Module) -> Route:
    """Forward, backward and AdamW.

    The rate is 0, which costs the same and leaves the weights, and so the work, as they are.
    No gradient is left behind.
    """
    parameters = [parameter for model in models for parameter in model.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=0.0, fused=True)

    def act() -> None:
        loss().backward()
        optimiser.step()
        optimiser.zero_grad()

    return act
