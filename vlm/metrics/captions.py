"""Every caption score that needs no Java, from raw captions, as COCO computes and reports them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from vlm.errors import InputError
from vlm.metrics.bleu import bleu
from vlm.metrics.cider import cider_d
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.rouge import rouge_l
from vlm.text.ptb import tokenize

ImageId = TypeVar("ImageId", bound=Hashable)
Tokens = list[str]

_NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "CIDEr-D")
_SHOWN_IDS = 5


@dataclass(frozen=True)
class CaptionScores(Generic[ImageId]):
    """The scores of a corpus and of each of its images, by name.

    The names are BLEU-1, BLEU-2, BLEU-3, BLEU-4 and ROUGE-L, in [0, 1], and CIDEr-D, in [0, 10].

    Attributes:
        corpus: BLEU from the counts of all images added up; the others are means over images.
        per_image: The same scores of each image alone, in the order of the references.
    """

    corpus: dict[str, float]
    per_image: dict[ImageId, dict[str, float]]


def score_captions(
    candidates: Mapping[ImageId, str], references: Mapping[ImageId, Sequence[str]]
) -> CaptionScores[ImageId]:
    """Scores one caption of each image against the captions that people gave it.

    Both sides are raw text and tokenised here. CIDEr-D weighs n-grams by their frequency in these
    references, so scores of part of a data set are not comparable with scores of the whole.

    Args:
        candidates: One caption for each image.
        references: At least one caption for each image; their order is the order of images.

    Raises:
        InputError: There is no image, an image is on one side only or has no reference, or a
            caption is not a string.
    """
    _check_images(candidates, references)
    _check_captions(candidates, references)
    tokens = tokenize([candidates[image] for image in references])
    flat = iter(tokenize([caption for captions in references.values() for caption in captions]))
    human = [[next(flat) for _ in captions] for captions in references.values()]
    corpus, *rows = _score_tokens(tokens, human)
    return CaptionScores(corpus, dict(zip(references, rows, strict=True)))


def _score_tokens(
    candidates: list[Tokens], references: list[list[Tokens]]
) -> list[dict[str, float]]:
    """The scores of the corpus, then those of each image."""
    words = [[_words(caption) for caption in captions] for captions in references]
    ngrams = count_ngrams([_words(caption) for caption in candidates], words)
    bleus, rouges, ciders = bleu(ngrams), rouge_l(candidates, references), cider_d(ngrams).tolist()
    rows = [[*bleus.corpus, float(np.mean(rouges)), float(np.mean(ciders))]]
    for row, rouge, cider in zip(bleus.per_image, rouges, ciders, strict=True):
        rows.append([*row, rouge, cider])
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]


def _words(tokens: Tokens) -> Tokens:
    """What BLEU and CIDEr count: they, but not ROUGE-L, part a token at the spaces within it."""
    return " ".join(tokens).split()


def _check_images(
    candidates: Mapping[ImageId, str], references: Mapping[ImageId, Sequence[str]]
) -> None:
    if not references:
        raise InputError("the references hold no image: give captions of at least one")
    _refuse(
        [image for image in references if image not in candidates],
        "have references but no candidate: give each one caption",
    )
    _refuse(
        [image for image in candidates if image not in references],
        "have a candidate but no references: drop the candidates or add references",
    )
    _refuse(
        [image for image, captions in references.items() if not len(captions)],
        "have an empty list of references: give each at least one caption, or leave them out",
    )


def _check_captions(
    candidates: Mapping[ImageId, str], references: Mapping[ImageId, Sequence[str]]
) -> None:
    _refuse(
        [image for image, caption in candidates.items() if not isinstance(caption, str)],
        "have a candidate that is not a string: give each one caption as text",
    )
    _refuse(
        [
            image
            for image, captions in references.items()
            if isinstance(captions, str) or not all(isinstance(text, str) for text in captions)
        ],
        "have references that are not a list of strings: give each a list of captions",
    )


def _refuse(images: Sequence[Hashable], problem: str) -> None:
    if images:
        shown = ", ".join(map(repr, images[:_SHOWN_IDS]))
        more = f" and {len(images) - _SHOWN_IDS} more" if len(images) > _SHOWN_IDS else ""
        raise InputError(f"images {shown}{more} {problem}")
