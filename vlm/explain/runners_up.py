"""What a caption might have said instead: the likeliest other tokens at the start of each word."""

import torch

from vlm.explain.passages import Passage, through
from vlm.text.tokenizer import CaptionTokenizer

END = "(end)"


@torch.no_grad()
def runners_up(
    passage: Passage, tokenizer: CaptionTokenizer, *, most: int = 4
) -> list[list[tuple[str, float]]]:
    """Of each word of a caption the likeliest others, after the words before it.

    Args:
        passage: of a caption.
        tokenizer: of its ids.
        most: others a word, at least 1.

    Returns:
        text and probability, the likeliest first; of a word of several tokens they are other
        beginnings. `END` is the caption's end.
    """
    network = passage.network
    memory = network.encode(passage.regions)
    hidden = through(network.decoder, passage.tokens, memory, passage.mask)
    likely = network.decoder.logits(hidden)[0].float().softmax(dim=-1)
    best = likely.topk(min(most + 3, likely.shape[-1]), dim=-1)  # its own, and two that say nothing
    written = passage.tokens[1:].tolist()
    found = []
    for word, share in zip(passage.words, passage.shares, strict=True):
        place = int(share.argmax())  # the first token of the word: all have the same share
        own = written[place] if place < len(written) else None
        others = [
            (END if token == tokenizer.end else tokenizer.decode([token]), probability)
            for token, probability in zip(
                best.indices[place].tolist(), best.values[place].tolist(), strict=True
            )
            if token != own
        ]
        found.append([(text, p) for text, p in others if text and text != word][:most])
    return found
