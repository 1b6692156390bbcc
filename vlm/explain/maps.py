"""Maps of a finished caption, or of a question and its answer, under every reduction.

Decoding carries no maps. A finished caption is read once more, teacher-forced, and
every cross-attention is asked for its weights: correct under beam search, because
nothing was reordered, and free while training.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vlm.errors import InputError
from vlm.explain.attnlrp import attnlrp
from vlm.explain.occlusion import occlusion
from vlm.explain.passages import Passage
from vlm.explain.recording import recorded
from vlm.explain.reductions import gradient, relevance, rollout
from vlm.formats.word_maps import LAST, WordMaps, reduce_weights, reductions_of_weights, told
from vlm.models.answerer import QuestionAnswerer
from vlm.models.captioner import Captioner
from vlm.models.encoder import Memory

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
        its maps; the words of a question have no probability of their own (NaN), the answer has;
        a word of several tokens has the mean of their weights and the product of their
        probabilities.

    Raises:
        InputError: if there is no such reduction.
    """
    require_reduction(passage.network, reduction)
    with torch.no_grad(), recorded(passage.network) as looks:
        likely = passage.log_probabilities(passage.network.encode(passage.regions))
    probabilities = likely[0, list(passage.targets)].exp().cpu().numpy()
    probabilities[~np.array(passage.chosen, dtype=bool)] = np.nan
    maps = _maps(passage, torch.stack(looks.cross)[:, 0], reduction)
    return maps._replace(probabilities=probabilities)


@torch.no_grad()
def replay(captions: Sequence[Passage], memory: Memory, reduction: str = LAST) -> list[WordMaps]:
    """The same of one caption for each image of a batch, but for the probabilities (all NaN).

    Weights are read from all images at once; a reduction that runs the model does so an image
    at a time.

    Args:
        captions: ``B`` of them, all read by one captioner.
        memory: of their images.
        reduction: of :func:`reductions_of`.

    Raises:
        InputError: if there is no such reduction.
    """
    decoder = captions[0].network.decoder
    require_reduction(captions[0].network, reduction)
    texts = [caption.tokens for caption in captions]
    tokens = pad_sequence(texts, batch_first=True).unsqueeze(1)
    real = pad_sequence(
        [torch.ones_like(text, dtype=torch.bool) for text in texts], batch_first=True
    )
    looks = decoder.cross_weights(tokens, memory, real=real.unsqueeze(1))[:, :, 0]
    rows = zip(captions, looks.transpose(2, 3).unbind(dim=1), strict=True)
    return [_maps(caption, row[:, :, : len(caption.tokens)], reduction) for caption, row in rows]


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


def _maps(passage: Passage, looks: Tensor, reduction: str) -> WordMaps:
    """Maps of weights ``(layers, H, L, N)``; no word has a probability yet."""
    weights = (passage.shares @ looks.float()).cpu().numpy()
    return WordMaps(
        words=passage.words,
        weights=weights,
        map=reduced(passage, weights, reduction),
        reduction=reduction,
        probabilities=np.full(len(passage.words), np.nan, dtype=np.float32),
        boxes=passage.regions.boxes[0].float().cpu().numpy(),
        image=passage.image,
    )
