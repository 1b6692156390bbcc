"""Peaks of memory: what the vocabulary adds to a step, and what an image adds to its texts."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from huggingface import encoder_decoder_of, next_word_loss, read
from torch import Tensor, nn
from torch.nn import functional

from routes.ours import cross_entropy
from routes.rounds import OURS, Row, Task, peak_memory
from routes.sizes import LONGEST, SPECIAL, Sizes, captioner_of, captions_of, regions_of
from routes.training import training
from routes.writing import beam_search

Loss = Callable[[], Tensor]

VOCABULARIES, SEVERAL = (10_000, 50_000), (1, 5, 10)


def vocabulary_memory(sizes: Sizes) -> Iterator[Row]:
    """Of logits and loss: the peak of forward and backward, less that without any vocabulary."""
    for vocabulary in VOCABULARIES:
        yield _vocabulary(replace(sizes, vocabulary=vocabulary))


def _vocabulary(sizes: Sizes) -> Row:
    captioner, tokens = captioner_of(sizes), captions_of(sizes).tokens
    decoder, targets = captioner.decoder, tokens[..., 1:]
    real = targets != SPECIAL.pad
    model = encoder_decoder_of(decoder, SPECIAL).to(sizes.device)
    memory = captioner.encode(regions_of(sizes))
    memory = memory._replace(features=memory.features.detach())

    def hidden() -> Tensor:
        return decoder(tokens[..., :-1], memory, real=real)[real]

    def bare() -> Tensor:
        return hidden().sum()

    def whole() -> Tensor:
        return functional.cross_entropy(decoder.logits(hidden()), targets[real])

    def theirs() -> Tensor:
        return next_word_loss(model, tokens, memory, pad=SPECIAL.pad)

    def their_bare() -> Tensor:
        return read(model, tokens[..., :-1], memory).sum()

    peaks = {
        OURS: _added(decoder, lambda: cross_entropy(captioner, memory, tokens), bare),
        "logits of all words": _added(decoder, whole, bare),
        "Hugging Face": _added(model, theirs, their_bare),
    }
    note = f"{int(real.sum())} words of {real.numel()} places"
    return Row(f"memory, vocabulary {sizes.vocabulary:,}", "MB", peaks, note)


def _added(model: nn.Module, loss: Loss, bare: Loss) -> list[float]:
    """MB of one loss's peak beyond another's, gradients included."""

    def peak(of: Loss) -> float:
        found = peak_memory(lambda: of().backward(), next(model.parameters()).device)
        model.zero_grad()
        return found

    return [peak(loss) - peak(bare)]


def image_memory(sizes: Sizes) -> Iterator[Row]:
    """Of all regions but one: a training step by captions an image, a search by beams."""
    for several in SEVERAL:
        yield _image(f"{several} captions", replace(sizes, texts=several), training)
    for beams in SEVERAL:
        changed = replace(sizes, beams=beams, shortest=LONGEST)
        yield _image(f"{beams} beams", changed, beam_search)


def _image(name: str, sizes: Sizes, task: Callable[[Sizes], Task]) -> Row:
    many, one = (peaks(task(changed), sizes) for changed in (sizes, replace(sizes, regions=1)))
    added = {route: [many[route] - one[route]] for route in many}
    return Row(f"image memory, {name}", "MB", added)


def peaks(task: Task, sizes: Sizes) -> dict[str, float]:
    """MB that every route but the floor holds at its peak, after a first time."""
    found = {}
    for name, route in task.routes.items():
        if name != "GEMM floor":
            route()
            found[name] = peak_memory(route, sizes.device)
    return found
