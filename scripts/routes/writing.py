"""Captions written: beam search and greedy, beside ``generate``."""

import torch
from huggingface import encoder_decoder_of, words, write

from routes.rounds import OURS, Task
from routes.sizes import LONGEST, SPECIAL, Sizes, captioner_of, regions_of
from vlm.decoding import BeamSearch, Greedy, Strategy

Captions = list[list[int]]


def beam_search(sizes: Sizes) -> Task:
    """The best of ``sizes.beams`` beams."""
    strategy = BeamSearch(sizes.beams, min_length=sizes.shortest, max_length=LONGEST)
    return _writing(sizes, strategy, num_beams=sizes.beams)


def greedy(sizes: Sizes) -> Task:
    """The likeliest word at every step."""
    return _writing(sizes, Greedy(min_length=sizes.shortest, max_length=LONGEST))


def _writing(sizes: Sizes, strategy: Strategy, **how: object) -> Task:
    """Both routes write from one memory, and must write the same captions every time."""
    captioner = captioner_of(sizes).eval()
    model = encoder_decoder_of(captioner.decoder, SPECIAL).to(sizes.device)
    with torch.inference_mode():
        memory = captioner.encode(regions_of(sizes))

    def theirs() -> Captions:
        options = {"do_sample": False, "min_new_tokens": sizes.shortest, **how}
        with torch.inference_mode():
            rows = write(model, memory, special=SPECIAL, max_length=LONGEST, **options)
        return [words(row, SPECIAL) for row in rows[:, 0].tolist()]

    def ours() -> Captions:
        with torch.inference_mode():
            decoded = strategy.decode(
                captioner.start(memory), batch=sizes.images, special=SPECIAL, device=sizes.device
            )
        return [words(row, SPECIAL) for row in decoded.tokens[:, 0].tolist()]

    def check(captions: Captions) -> None:
        if captions != expected:
            raise SystemExit("the captions of ours and of GPT-2 differ, so no time is comparable")

    expected = theirs()
    lengths = [len(caption) for caption in expected]
    different = len({tuple(caption) for caption in expected})
    note = f"the same captions, {different} different, {min(lengths)} to {max(lengths)} words"
    return Task({OURS: lambda: check(ours()), "Hugging Face": lambda: check(theirs())}, note)
