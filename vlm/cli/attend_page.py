"""The page of ``vlm attend --html``: photos with all that their words looked at."""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vlm.data.images import load_image
from vlm.explain.curves import BY_CHANCE, deletion
from vlm.explain.maps import BY_MODEL, explain, reduced
from vlm.explain.passages import Passage, caption_passage
from vlm.explain.runners_up import runners_up
from vlm.explain.viewer import Reading, Viewed
from vlm.formats.word_maps import WordMaps, reductions_of_weights
from vlm.training.module import VisionLanguageModule

SLOW = "occlusion"  # is left out where nobody asks for it


def viewed(
    module: VisionLanguageModule,
    passage: Passage,
    maps: WordMaps,
    scores: Mapping[str, float],
    options: argparse.Namespace,
) -> Viewed:
    """One photo of the page.

    A photo alone has all its beams, and the reductions that run the model; in a gallery, which
    would grow too large and take too long, each has its best text and the reduction asked for.

    Args:
        module: that looked.
        passage: its best text.
        maps: of that.
        scores: deletion of those maps, and by chance.
        options: of the command line.
    """
    path, alone = Path(passage.image), len(options.images) == 1
    best = _reading(module, passage, maps, scores, options)
    texts = [_with_all_maps(best, passage) if alone else best]
    if alone and options.question is None and options.caption is None:
        texts += _other_beams(module, passage, options)
    return Viewed(path.name, load_image(path), maps.boxes, texts, _sorting(maps, scores))


def _sorting(maps: WordMaps, scores: Mapping[str, float]) -> dict[str, float]:
    """What a gallery is sorted by; nothing of a text without words."""
    if not maps.words:
        return {}
    own, by_chance = scores[maps.reduction], scores[BY_CHANCE]
    return {
        f"deletion ({maps.reduction})": own,
        f"below chance ({maps.reduction})": by_chance - own,
        "mean probability": float(np.nanmean(maps.probabilities)),  # of what was not given
    }


def _reading(
    module: VisionLanguageModule,
    passage: Passage,
    maps: WordMaps,
    scores: Mapping[str, float],
    options: argparse.Namespace,
) -> Reading:
    asked = options.question
    return Reading(
        maps.words,
        maps.weights,
        probabilities=maps.probabilities,
        runners_up=runners_up(passage, module.tokenizer) if asked is None else (),
        maps={maps.reduction: maps.map},
        deletion=scores,
        answers=() if asked is None else module.answer(passage.image, asked),
    )


def _with_all_maps(reading: Reading, passage: Passage) -> Reading:
    """A text under every reduction that is not slow, the weights' own with their scores."""
    layers, heads = reading.weights.shape[:2]
    found, scores = dict(reading.maps), dict(reading.deletion)
    for name in [*reductions_of_weights(layers, heads), *BY_MODEL]:
        if name not in found and name != SLOW and "-head-" not in name:
            rows = reduced(passage, reading.weights, name)
            found[name], scores[name] = rows, deletion(passage, rows).area
    return reading._replace(maps=found, deletion=scores)


def _other_beams(
    module: VisionLanguageModule, passage: Passage, options: argparse.Namespace
) -> list[Reading]:
    """What beam search ranks behind the best caption."""
    task = module.captioning
    decoded = task.write(module.network.encode(passage.regions))
    readings = []
    for tokens, length in zip(decoded.tokens[0, 1:], decoded.lengths[0, 1:], strict=True):
        if length:
            ids = tokens[:length].tolist()
            other = caption_passage(task.captioner, module.tokenizer, passage.regions, ids)
            readings.append(_reading(module, other, explain(other, options.reduction), {}, options))
    return readings
