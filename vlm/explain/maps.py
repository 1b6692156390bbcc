"""Maps of a finished caption, or of a question and its answer, under every reduction.

Decoding carries no maps. A finished caption is read once more, teacher-forced, and
every cross-attention is asked for its weights: correct under beam search, because
nothing was reordered, and free while training.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from vlm.errors import InputError
from vlm.explain.attnlrp import attnlrp
from vlm.explain.occlusion import occlusion
from vlm.explain.passages import Passage, caption_passage
from vlm.explain.recording import recorded
from vlm.explain.reductions import gradient, relevance, rollout
from vlm.formats.word_maps import LAST, WordMaps, reduce_weights, reductions_of_weights, told
from vlm.models.answerer import QuestionAnswerer
from vlm.models.captioner import Captioner
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer

BY_MODEL: dict[str, Callable[[Passage], Tensor]] = {
    "rollout": rollout,
    "gradient": gradient,
    "relevance": relevance,
    "attnlrp": attnlrp,
    "occlusion": occlusion,
}
"""Reductions that run the model; those of weights alone are in :mod:`vlm.formats.word_maps`."""


def reductions_of(network: Captioner | QuestionAnswerer) -> list[str]:
    """Names of all reductions that there are for a network."""
    decoder = network.decoder
    return [*reductions_of_weights(decoder.layers, decoder.heads), *BY_MODEL]


def require_reduction(network: Captioner | QuestionAnswerer, name: str) -> None:
    """Holds that a network has a reduction.

    Raises:
        InputError: if it has no such reduction, layer or head.
    """
    known = reductions_of(network)
    if name not in known:
        raise InputError(f"there is no reduction {name!r}; {told(known)}")


def explain(passage: Passage, reduction: str = LAST) -> WordMaps:
    """Where each word of a passage looked.

    Args:
        passage: a caption, or a question whose last word is its answer.
        reduction: of :func:`reductions_of`.

    Returns:
        its maps; the words of a question have no probability of their own (NaN), the answer has.

    Raises:
        InputError: if there is no such reduction.
    """
    require_reduction(passage.network, reduction)
    with torch.no_grad(), recorded(passage.network) as looks:
        likely = passage.log_probabilities(passage.network.encode(passage.regions))
    cross = torch.stack(looks.cross)[:, 0].float()  # (layers, H, L, N)
    weights = (passage.shares @ cross).cpu().numpy()
    probabilities = likely[0, list(passage.targets)].exp().cpu().numpy()
    probabilities[~np.array(passage.chosen, dtype=bool)] = np.nan
    return WordMaps(
        words=passage.words,
        weights=weights,
        map=reduced(passage, weights, reduction),
        reduction=reduction,
        probabilities=probabilities,
        boxes=passage.regions.boxes[0].float().cpu().numpy(),
        image=passage.image,
    )


@torch.no_grad()
def replay(
    captioner: Captioner,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    captions: Sequence[Sequence[int]],
    *,
    reduction: str = LAST,
) -> list[WordMaps]:
    """Maps of one caption for each image of a batch.

    Weights are read from all images at once; a reduction that runs the model does so an image
    at a time.

    Args:
        captioner: that wrote the captions, or reads them.
        tokenizer: of their ids.
        regions: of ``B`` images.
        captions: ``B`` sequences of ids without the start token; what follows the end
            token is not read.
        reduction: of :func:`reductions_of`.

    Returns:
        ``B`` maps; a word of several tokens has the mean of their weights and the
        product of their probabilities.

    Raises:
        InputError: if there is no such reduction, or the captioner sees no image.
    """
    require_reduction(captioner, reduction)
    passages = []
    for row, ids in enumerate(captions):
        one = regions.each(lambda part, row=row: part[row, None])
        passages.append(caption_passage(captioner, tokenizer, one, ids))
    longest = max(len(passage.tokens) for passage in passages)
    tokens = regions.features.new_full((len(passages), 1, longest), tokenizer.pad, dtype=torch.long)
    for row, passage in zip(tokens, passages, strict=True):
        row[0, : len(passage.tokens)] = passage.tokens
    memory = captioner.encode(regions)
    looks = captioner.decoder.cross_weights(tokens, memory).squeeze(2).float().transpose(2, 3)
    hidden = captioner.decoder(tokens, memory).squeeze(1)
    maps = []
    for row, passage in enumerate(passages):
        length = len(passage.tokens)
        weights = (passage.shares @ looks[:, row, :, :length]).cpu().numpy()
        maps.append(
            WordMaps(
                words=passage.words,
                weights=weights,
                map=reduced(passage, weights, reduction),
                reduction=reduction,
                probabilities=passage.score(hidden[row, None, :length])[0].exp().cpu().numpy(),
                boxes=regions.boxes[row].float().cpu().numpy(),
            )
        )
    return maps


def reduced(passage: Passage, weights: np.ndarray, name: str) -> np.ndarray:
    """The map of a reduction, for whoever has the weights of a passage already.

    Args:
        passage: whose words they are.
        weights: ``(layer, head, word, region)``, those of :func:`explain`.
        name: of :func:`reductions_of`.

    Returns:
        ``(word, region)``, its rows summing to 1; even where nothing mattered.
    """
    if name not in BY_MODEL:
        return reduce_weights(weights, name)
    if not passage.words:
        return weights[0, 0]
    rows = BY_MODEL[name](passage).cpu().double().numpy()
    real = passage.real.cpu().numpy()
    rows = np.where(real, rows, 0)
    sums = rows.sum(axis=1, keepdims=True)
    even = real / real.sum()
    return np.where(sums > 0, rows / np.where(sums > 0, sums, 1), even).astype(np.float32)
