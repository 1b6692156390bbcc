"""How different captions are: of one image among themselves, of a corpus, and from the training's.

Tokens are counted as they are given; :func:`vlm.text.ptb.tokenize` makes those of COCO scoring.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import shown
from vlm.metrics.bleu import bleu
from vlm.metrics.ngrams import Words, count_ngrams


@dataclass(frozen=True)
class CaptionDiversity:
    """What can be said of any captions, be they one an image or several.

    Attributes:
        div_1: Distinct words of an image's captions by the number of their words, in [0, 1]; mean
            over images. It falls with the number of captions an image: compare equal numbers.
        div_2: Distinct pairs of neighbouring words, likewise by the number of words.
        vocabulary: Number of distinct words in all captions.
        unique: Distinct captions by the number of captions, in [0, 1].
        novel: Share of captions that no training caption equals, in [0, 1]; None without those.
    """

    div_1: float
    div_2: float
    vocabulary: int
    unique: float
    novel: float | None


@dataclass(frozen=True)
class SampleDiversity(CaptionDiversity):
    """The same of several captions an image, and how much these repeat each other.

    Attributes:
        mbleu: mBLEU-1 to mBLEU-4, in [0, 1]; the lower, the more diverse.
    """

    mbleu: tuple[float, ...]


def caption_diversity(
    captions: Sequence[Words], *, training: Iterable[Words] | None
) -> CaptionDiversity:
    """Measures one caption an image; mBLEU, which compares captions of one image, has no value.

    Args:
        captions: The tokens of one caption an image; div-n is then about words within a caption.
        training: The tokens of the training captions, tokenised alike; None if unknown.

    Raises:
        InputError: There is no caption, or one is text instead of tokens.
    """
    return CaptionDiversity(*_measure([[caption] for caption in captions], training))


def sample_diversity(
    samples: Sequence[Sequence[Words]], *, training: Iterable[Words] | None
) -> SampleDiversity:
    """Measures several captions an image (Shetty et al., 2017; Aneja et al., 2019).

    mBLEU is the mean over k of the corpus BLEU of every image's k-th caption against its others.

    Args:
        samples: The tokens of each image's captions, at least two, of each image equally many.
        training: The tokens of the training captions, tokenised alike; None if unknown.

    Raises:
        InputError: There is no image, an image has less than two captions or another number than
            the first, or a caption is text instead of tokens.
    """
    measured = _measure(samples, training)
    _check_numbers([len(captions) for captions in samples])
    return SampleDiversity(*measured, _mbleu(samples))


def refuse_text(captions: Iterable[Words], *, name: str) -> None:
    """Refuses strings, whose letters would be counted as words.

    Raises:
        InputError: A caption is a string.
    """
    for place, caption in enumerate(captions):
        if isinstance(caption, str):
            raise InputError(
                f"{name} {place}, counted from 0, is the text {caption!r}, not a list of tokens: "
                "tokenise it with vlm.text.ptb.tokenize"
            )


def _measure(
    samples: Sequence[Sequence[Words]], training: Iterable[Words] | None
) -> tuple[float, float, int, float, float | None]:
    captions = [tuple(caption) for caption in _pool(samples)]
    novel = None
    if training is not None:
        known = list(training)
        refuse_text(known, name="training caption")
        known = set(map(tuple, known))
        novel = sum(caption not in known for caption in captions) / len(captions)
    vocabulary = len(set(chain.from_iterable(captions)))
    unique = len(set(captions)) / len(captions)
    return _distinct(samples, 1), _distinct(samples, 2), vocabulary, unique, novel


def _pool(samples: Sequence[Sequence[Words]]) -> list[Words]:
    captions = list(chain.from_iterable(samples))
    if not captions:
        raise InputError("there are no captions to measure: give the tokens of at least one")
    refuse_text(captions, name="caption")
    return captions


def _distinct(samples: Sequence[Sequence[Words]], n: int) -> float:
    """div-n; captions without any word show no difference, so their image counts as 0."""
    ratios = []
    for captions in samples:
        words = sum(map(len, captions))
        # n views of a caption, each a word later: zipped they are its n-grams
        found = {gram for c in captions for gram in zip(*(c[i:] for i in range(n)), strict=False)}
        ratios.append(len(found) / max(1, words))
    return float(np.mean(ratios))


def _mbleu(samples: Sequence[Sequence[Words]]) -> tuple[float, ...]:
    rounds = []
    for k in range(len(samples[0])):
        others = [[*captions[:k], *captions[k + 1 :]] for captions in samples]
        rounds.append(bleu(count_ngrams([captions[k] for captions in samples], others)).corpus)
    return tuple(np.mean(rounds, axis=0).tolist())


def _check_numbers(numbers: Sequence[int]) -> None:
    if numbers[0] < 2:
        raise InputError(
            f"mBLEU compares an image's captions, but the first image has {numbers[0]}: "
            "give at least two of each image, or measure with caption_diversity"
        )
    odd = [image for image, number in enumerate(numbers) if number != numbers[0]]
    if odd:
        raise InputError(
            f"{'image' if len(odd) == 1 else 'images'} {shown(odd)}, counted from 0, "
            f"{'does' if len(odd) == 1 else 'do'} not have {numbers[0]} captions as the first has: "
            "give equally many of each image"
        )
