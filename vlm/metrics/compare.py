"""Two captioners on the same images: their scores, how sure the difference is, and where it lies.

A system is one run or several that differ in their seed. BLEU is resampled through the matches and
lengths of the images, not as a mean of sentence scores; ROUGE-L and CIDEr are means over images.
CIDEr always weighs n-grams by their frequency in the references of all images.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from vlm import __version__
from vlm.errors import InputError
from vlm.formats.ids import who_has
from vlm.metrics.bleu import bleu_from_statistics, bleu_statistics
from vlm.metrics.captions import SCORES
from vlm.metrics.cider import cider, cider_d
from vlm.metrics.corpus import Corpus, tokenize_references
from vlm.metrics.ngrams import MAX_ORDER
from vlm.metrics.resampling import Difference, Floats, Score, difference
from vlm.metrics.rouge import rouge_l
from vlm.metrics.signature import caption_signature
from vlm.text.ptb import tokenize

ImageId = TypeVar("ImageId", bound=Hashable)
Runs = Mapping[str, Mapping[ImageId, str]]

STANDARD = ("BLEU-4", "ROUGE-L", "CIDEr-D")
MOST_SAMPLES = 1_000_000  # some hours
_ROUNDING = 1e-12  # means in another order are still equal
_SHOWN = 5


class Change(NamedTuple, Generic[ImageId]):
    """An image that one system describes better than the other.

    Attributes:
        image: Its id.
        a: CIDEr-D of system a, the mean over its runs, in [0, 10].
        b: CIDEr-D of system b.
        captions_a: One a run.
        captions_b: One a run.
    """

    image: ImageId
    a: float
    b: float
    captions_a: tuple[str, ...]
    captions_b: tuple[str, ...]


@dataclass(frozen=True)
class Comparison(Generic[ImageId]):
    """Two systems on the same images.

    Attributes:
        metrics: The difference in each score, by name.
        gained: At most five images that gain most CIDEr-D from a to b, the largest gain first.
        lost: Those that lose most.
        images: How many there are in all.
        signature: How the scores of either system were made, as ``score_captions`` tells it.
        resampling: How intervals and p-values were made.
    """

    metrics: dict[str, Difference]
    gained: list[Change[ImageId]]
    lost: list[Change[ImageId]]
    images: int
    signature: str
    resampling: str


def compare_captions(
    a: Runs[ImageId],
    b: Runs[ImageId],
    references: Mapping[ImageId, Sequence[str]],
    *,
    metrics: Sequence[str] = STANDARD,
    samples: int = 1000,
    seed: int = 0,
) -> Comparison[ImageId]:
    """Compares the captions that two systems wrote of the same images.

    Args:
        a: For each run of a system, by its name, one caption of each image.
        b: The same of the system compared with it.
        references: At least one caption for each of at least two images.
        metrics: Of BLEU-1 to BLEU-4, ROUGE-L, CIDEr-D and CIDEr.
        samples: Resamples of the bootstrap, and permutations; at most a million.
        seed: Of both.

    Raises:
        InputError: A system has no run, the images of a run are not those of the references, a
            caption is not a string, there are too few images, too few or many samples, or no such
            metric.
    """
    _check_settings(metrics, samples, seed)
    _check_references(references)
    for runs in (a, b):
        _check_runs(runs, references)
    human = tokenize_references(references)
    chosen = [name for name in METRICS if name in metrics]
    measured = {*chosen, "CIDEr-D"}
    first, second = (_measure(runs, human, list(references), measured) for runs in (a, b))
    differences = {
        name: difference(first[name], second[name], METRICS[name].score, samples=samples, seed=seed)
        for name in chosen
    }
    own, other = (statistics["CIDEr-D"].mean(axis=0)[:, 0] for statistics in (first, second))
    gained, lost = _most_changed(a, b, own, other, list(references))
    families = list(dict.fromkeys(METRICS[name].family for name in chosen))
    how = f"bootstrap:95|permutation:paired|samples:{samples}|seed:{seed}"
    return Comparison(
        differences,
        gained,
        lost,
        len(references),
        caption_signature(families, references),
        f"{how}|runs:{len(a)}+{len(b)}|vlm:{__version__}",
    )


class _Metric(NamedTuple):
    """A score as a function of statistics that add up; ``family`` is its name in signatures."""

    family: str
    statistics: Callable[[Corpus], Floats]
    score: Score


def _bleu_statistics(run: Corpus) -> Floats:
    return np.column_stack(bleu_statistics(run.ngrams)).astype(float)


def _bleu(sums: Floats, _: int, *, order: int) -> Floats:
    rows = [(row[0], row[1], row[2 : 2 + MAX_ORDER], row[-MAX_ORDER:]) for row in sums.tolist()]
    return np.array([bleu_from_statistics(*row)[order - 1] for row in rows])


def _mean(sums: Floats, images: int) -> Floats:
    return sums[:, 0] / images


def _rouge_l(run: Corpus) -> Floats:
    return np.array(rouge_l(run.candidates, run.references))[:, None]


METRICS = {
    **{
        f"BLEU-{n}": _Metric("BLEU", _bleu_statistics, partial(_bleu, order=n))
        for n in range(1, MAX_ORDER + 1)
    },
    "ROUGE-L": _Metric("ROUGE-L", _rouge_l, _mean),
    "CIDEr-D": _Metric("CIDEr-D", lambda run: cider_d(run.ngrams)[:, None], _mean),
    "CIDEr": _Metric("CIDEr", lambda run: cider(run.ngrams)[:, None], _mean),
}
# The scores of a family, of those that can be compared.
FAMILIES = {family: scores for family, scores in SCORES.items() if METRICS.keys() >= {*scores}}


def _measure(
    runs: Runs[ImageId],
    references: list[list[list[str]]],
    images: Sequence[ImageId],
    names: Collection[str],
) -> dict[str, Floats]:
    """By name of the score, ``(runs, I, C)`` statistics; the n-grams of one run at a time."""
    statistics: dict[str, list[Floats]] = {name: [] for name in names}
    for captions in runs.values():
        run = Corpus(tokenize([captions[image] for image in images]), references)
        for name in names:
            statistics[name].append(METRICS[name].statistics(run))
    return {name: np.stack(columns) for name, columns in statistics.items()}


def _most_changed(
    a: Runs[ImageId], b: Runs[ImageId], own: Floats, other: Floats, images: Sequence[ImageId]
) -> tuple[list[Change[ImageId]], list[Change[ImageId]]]:
    """The images that gain and lose most from the ``(I,)`` scores of a to those of b."""
    gain = other - own

    def change(index: int) -> Change[ImageId]:
        first, second = (
            tuple(captions[images[index]] for captions in runs.values()) for runs in (a, b)
        )
        return Change(images[index], float(own[index]), float(other[index]), first, second)

    ranked = np.argsort(gain, kind="stable").tolist()
    gained = [change(i) for i in ranked[: -_SHOWN - 1 : -1] if gain[i] > _ROUNDING]
    return gained, [change(i) for i in ranked[:_SHOWN] if gain[i] < -_ROUNDING]


def _check_settings(metrics: Sequence[str], samples: int, seed: int) -> None:
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise InputError(
            f"there is no metric {', '.join(unknown) or 'given'} to compare in; "
            f"choose of {', '.join(METRICS)}"
        )
    if samples < 1 or seed < 0:
        raise InputError(
            f"expected 1 or more samples and a seed of 0 or more, got {samples} and {seed}; "
            "1000 samples and seed 0 are usual"
        )
    if samples > MOST_SAMPLES:
        raise InputError(f"expected at most {MOST_SAMPLES} samples, got {samples}; 1000 are usual")


def _check_references(references: Mapping[ImageId, Sequence[str]]) -> None:
    if len(references) < 2:
        raise InputError(
            f"expected references of at least 2 images to compare on, got {len(references)}; "
            "give those of all images"
        )
    bare = [image for image, captions in references.items() if not captions]
    _refuse(bare, "no references; give each at least one caption or leave it out")
    wrong = [
        image
        for image, captions in references.items()
        if isinstance(captions, str) or not all(isinstance(text, str) for text in captions)
    ]
    _refuse(wrong, "references that are not a list of strings; give each a list of captions")


def _check_runs(runs: Runs[ImageId], references: Mapping[ImageId, Sequence[str]]) -> None:
    if not runs:
        raise InputError("a system has no run; give each the captions of at least one")
    same = "both systems and the references must hold the same images"
    for name, run in runs.items():
        missing = [image for image in references if image not in run]
        _refuse(missing, f"references but no caption in {name}; {same}")
        foreign = [image for image in run if image not in references]
        _refuse(foreign, f"a caption in {name} but no references; {same}")
        wrong = [image for image, caption in run.items() if not isinstance(caption, str)]
        _refuse(wrong, f"a caption in {name} that is not a string; give each one as text")


def _refuse(images: Sequence[Hashable], problem: str) -> None:
    if images:
        raise InputError(f"{who_has('image', images)} {problem}")
