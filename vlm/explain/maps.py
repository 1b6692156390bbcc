"""Attention maps of a finished caption, by replay, and of a question, as it is read.

Decoding carries no maps. A finished caption is read once more, teacher-forced, and
every cross-attention is asked for its weights: correct under beam search, because
nothing was reordered, and free while training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vlm.models.answerer import QuestionAnswerer
from vlm.models.captioner import Captioner
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer, Word


class WordMaps(NamedTuple):
    """Where every word of one caption or question looked.

    Attributes:
        words: of the text, in order.
        weights: ``(layers, H, words, N)``, each row over ``N`` summing to 1.
        boxes: ``(N, 4)`` as x0 y0 x1 y1 in [0, 1] of the original image.
        probabilities: ``(words,)``, of each word of a caption after those before it; None for
            a question, which was given.
    """

    words: list[str]
    weights: Tensor
    boxes: Tensor
    probabilities: Tensor | None = None

    def mean(self) -> Tensor:
        """``(words, N)``: the last layer's weights, averaged over its heads."""
        return self.weights[-1].mean(dim=0)


@torch.no_grad()
def replay(
    captioner: Captioner,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    captions: Sequence[Sequence[int]],
) -> list[WordMaps]:
    """Attention maps of one caption for each image of a batch.

    Args:
        captioner: that wrote the captions, or reads them.
        tokenizer: of their ids.
        regions: of ``B`` images.
        captions: ``B`` sequences of ids without the start token; what follows the end
            token is not read.

    Returns:
        ``B`` maps; a word of several tokens has the mean of their weights and the
        product of their probabilities.
    """
    lengths = [_length(ids, tokenizer.end) for ids in captions]
    tokens = torch.full((len(captions), 1, max(lengths) + 1), tokenizer.pad)
    tokens[..., 0] = tokenizer.start
    for row, (ids, length) in enumerate(zip(captions, lengths, strict=True)):
        tokens[row, 0, 1 : length + 1] = torch.tensor(list(ids[:length]))
    tokens = tokens.to(regions.features.device)
    memory = captioner.encode(regions)
    weights = captioner.decoder.cross_weights(tokens[..., :-1], memory).squeeze(2)
    hidden = captioner.decoder(tokens[..., :-1], memory).squeeze(1)
    log_probabilities = captioner.decoder.logits(hidden).float().log_softmax(dim=-1)
    chosen = log_probabilities.gather(-1, tokens[:, 0, 1:, None]).squeeze(-1)
    return [
        _of_one(
            tokenizer.words(list(captions[row][: lengths[row]])),
            weights=weights[:, row].float().cpu(),
            log_probabilities=chosen[row].cpu(),
            boxes=regions.boxes[row].cpu(),
        )
        for row in range(len(captions))
    ]


@torch.no_grad()
def read_question(
    answerer: QuestionAnswerer,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    tokens: Sequence[int],
) -> WordMaps:
    """Attention maps of a question about one image.

    Args:
        answerer: that reads it, in both directions.
        tokenizer: of its ids.
        regions: of the image, ``B`` being 1.
        tokens: of the question, start and end included.
    """
    ids = torch.tensor([[list(tokens)]], device=regions.features.device)
    memory, real = answerer.encode(regions), torch.ones_like(ids, dtype=torch.bool)
    weights = answerer.decoder.reading_weights(ids, memory, real=real)[:, 0, 0].float().cpu()
    return _of_one(tokenizer.words(tokens), weights=weights, boxes=regions.boxes[0].cpu())


def _length(ids: Sequence[int], end: int) -> int:
    """How many tokens there are, the end included."""
    return list(ids).index(end) + 1 if end in ids else len(ids)


def _of_one(
    words: list[Word], *, weights: Tensor, boxes: Tensor, log_probabilities: Tensor | None = None
) -> WordMaps:
    """Token weights ``(layers, L, H, N)`` gathered into words."""
    spans = [slice(word.start, word.stop) for word in words]
    layers, _, heads, count = weights.shape
    maps = [weights[:, span].mean(dim=1) for span in spans]
    likely = None
    if log_probabilities is not None:
        sums = [log_probabilities[span].sum() for span in spans]
        likely = torch.stack(sums).exp() if sums else weights.new_zeros(0)
    return WordMaps(
        words=[word.text for word in words],
        weights=torch.stack(maps, dim=2) if maps else weights.new_zeros(layers, heads, 0, count),
        boxes=boxes,
        probabilities=likely,
    )
