"""Memory: what the vocabulary needs, and what images need beside their texts."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from routes.ours import cross_entropy
from routes.rounds import OURS, Row, Task, memory_of
from routes.sizes import LONGEST, PAD, Sizes, captioner_of, captions_of
from routes.training import learning
from routes.writing import beam_search
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory

VOCABULARIES, SEVERAL = (10_000, 50_000), (1, 5, 10)


class GivenText(TextDecoder):
    """A decoder that has read already: only its vocabulary is left to be asked.

    Args:
        hidden: ``(B, C, L, D)``, what it found.
        vocabulary: ``V``.
    """

    def __init__(self, hidden: Tensor, vocabulary: int) -> None:
        super().__init__(vocabulary, width=hidden.shape[-1], heads=1, layers=1, dropout=0.0)
        del self.blocks  # so that reading in any other way fails
        self.hidden = hidden

    def forward(self, tokens: Tensor, memory: Memory, *, real: Tensor | None = None) -> Tensor:
        """What it found."""
        del tokens, memory, real
        return self.hidden


def vocabulary_memory(sizes: Sizes) -> Iterator[Row]:
    """Peaks of logits and loss, forward and backward, the gradient of the weights included."""
    for vocabulary in VOCABULARIES:
        yield _vocabulary(sizes._replace(vocabulary=vocabulary))


def _vocabulary(sizes: Sizes) -> Row:
    tokens, real = captions_of(sizes)
    targets, real = tokens[..., 1:], real[..., 1:]
    hidden = torch.randn(*targets.shape, sizes.width, device=sizes.device).requires_grad_()
    decoder = GivenText(hidden, sizes.vocabulary).to(sizes.device)
    captioner = Captioner(captioner_of(sizes).encoder, decoder)
    nothing = Memory(hidden.new_zeros(sizes.images, 1, sizes.width), real[:, 0, :1])

    def full(kept: Tensor) -> Tensor:
        logits = decoder.logits(hidden[kept])
        return functional.cross_entropy(logits, targets[kept], ignore_index=PAD)

    def peak(loss: Callable[[], Tensor]) -> float:
        found = memory_of(lambda: loss().backward(), sizes.device).peak
        decoder.zero_grad()
        hidden.grad = None
        return found

    peaks = {
        OURS: [peak(lambda: cross_entropy(captioner, nothing, tokens))],
        "logits of all words": [peak(lambda: full(real))],
        "logits of all places": [peak(lambda: full(torch.ones_like(real)))],
    }
    note = f"{int(real.sum()):,} tokens in {real.numel():,} places"
    return Row(f"vocabulary of {sizes.vocabulary:,}", "MB", peaks, note)


def image_memory(sizes: Sizes) -> Iterator[Row]:
    """Of all regions but one: kept for the backward pass, and at the peak of a search."""
    for texts in SEVERAL:
        yield _added(f"images, captions each: {texts}", sizes._replace(texts=texts), kept)
    for beams in SEVERAL:
        changed = sizes._replace(beams=beams, shortest=LONGEST)
        yield _added(f"images, beams each: {beams}", changed, search_peaks)


def _added(name: str, sizes: Sizes, memory: Callable[[Sizes], dict[str, float]]) -> Row:
    many, one = memory(sizes), memory(sizes._replace(regions=1))
    return Row(name, "MB", {route: [many[route] - one[route]] for route in many})


def kept(sizes: Sizes) -> dict[str, float]:
    """MB that every route keeps from forward to backward."""
    return {name: memory_of(each.loss, sizes.device).held for name, each in learning(sizes).items()}


def search_peaks(sizes: Sizes) -> dict[str, float]:
    """MB of every route at the peak of a beam search."""
    return peaks(beam_search(sizes), sizes.device)


def peaks(task: Task, device: torch.device) -> dict[str, float]:
    """MB of every route at its peak, after a first time."""
    found = {}
    for name, route in task.routes.items():
        route()
        found[name] = memory_of(route, device).peak
    return found
