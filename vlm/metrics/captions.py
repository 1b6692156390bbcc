"""Every caption score from raw captions, as COCO computes and reports them."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from vlm.errors import InputError
from vlm.formats.ids import who_has
from vlm.metrics import java
from vlm.metrics.bleu import bleu
from vlm.metrics.cider import DocumentFrequencies, cider, cider_d
from vlm.metrics.corpus import Corpus, tokenize_references
from vlm.metrics.ngrams import MAX_ORDER
from vlm.metrics.rouge import rouge_l
from vlm.metrics.signature import caption_signature
from vlm.text.ptb import tokenize

ImageId = TypeVar("ImageId", bound=Hashable)

STANDARD = ("BLEU", "ROUGE-L", "CIDEr-D")


@dataclass(frozen=True)
class CaptionScores(Generic[ImageId]):
    """The scores of a corpus and of each of its images, by name.

    BLEU-1, BLEU-2, BLEU-3, BLEU-4, ROUGE-L, METEOR and SPICE are in [0, 1], CIDEr-D and CIDEr in
    [0, 10].

    Attributes:
        corpus: BLEU and METEOR from the counts of all images added up; the others are means.
        per_image: The same scores of each image alone, in the order of the references.
        signature: How the scores were made; equal ones are comparable.
        not_computed: Scores that are not there, each with the reason.
    """

    corpus: dict[str, float]
    per_image: dict[ImageId, dict[str, float]]
    signature: str
    not_computed: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What ``metrics.json`` holds of them."""
        return {
            "scores": self.corpus,
            "signature": self.signature,
            "images": len(self.per_image),
            "not computed": self.not_computed,
        }


def score_captions(
    candidates: Mapping[ImageId, str],
    references: Mapping[ImageId, Sequence[str]],
    *,
    metrics: Sequence[str] = STANDARD,
    frequencies: DocumentFrequencies | None = None,
) -> CaptionScores[ImageId]:
    """Scores one caption of each image against the captions that people gave it.

    Both sides are raw text and tokenised here. CIDEr weighs n-grams by their frequency in these
    references unless stored frequencies are given, so scores of part of a data set are not
    comparable with scores of the whole.

    Args:
        candidates: One caption for each image.
        references: At least one caption for each image; their order is the order of images.
        metrics: Of BLEU, ROUGE-L, CIDEr-D, CIDEr, METEOR and SPICE; BLEU-1 to BLEU-4 give a
            single score. What needs Java and does not find it is named in ``not_computed``.
        frequencies: Document frequencies of another corpus, for CIDEr and CIDEr-D.

    Raises:
        InputError: There is no image, an image is on one side only or has no reference, a
            caption is not a string, or there is no such metric.
    """
    _check_images(candidates, references)
    _check_captions(candidates, references)
    scores = {score for name in metrics for score in SCORES.get(name, [name])}
    missing = _not_computed(scores)
    tokens = tokenize([candidates[image] for image in references])
    task = _Task(Corpus(tokens, tokenize_references(references)), frequencies)
    chosen = [name for name in METRICS if scores & {*SCORES[name]} and name not in missing]
    columns = [c for name in chosen for c in METRICS[name](task) if c.name in scores]
    rows = {
        image: {column.name: column.per_image[place] for column in columns}
        for place, image in enumerate(references)
    }
    weighed = frequencies is not None and any(name.startswith("CIDEr") for name in chosen)
    source = frequencies.hash if frequencies is not None and weighed else "corpus"
    return CaptionScores(
        corpus={column.name: column.corpus for column in columns},
        per_image=rows,
        signature=caption_signature(chosen, references, frequencies=source),
        not_computed=missing,
    )


class Column(NamedTuple):
    """One score of a corpus and of its images."""

    name: str
    corpus: float
    per_image: Sequence[float]


@dataclass(frozen=True)
class _Task:
    """What a score is computed from."""

    corpus: Corpus
    frequencies: DocumentFrequencies | None


def _bleu(task: _Task) -> list[Column]:
    scores = bleu(task.corpus.ngrams)
    by_order = zip(scores.corpus, zip(*scores.per_image, strict=True), strict=True)
    return [Column(f"BLEU-{n}", whole, each) for n, (whole, each) in enumerate(by_order, start=1)]


def _rouge_l(task: _Task) -> list[Column]:
    return [_mean("ROUGE-L", rouge_l(task.corpus.candidates, task.corpus.references))]


def _cider_d(task: _Task) -> list[Column]:
    return [_mean("CIDEr-D", cider_d(task.corpus.ngrams, task.frequencies).tolist())]


def _cider(task: _Task) -> list[Column]:
    return [_mean("CIDEr", cider(task.corpus.ngrams, task.frequencies).tolist())]


def _meteor(task: _Task) -> list[Column]:
    return [Column("METEOR", *java.meteor(task.corpus.candidates, task.corpus.references))]


def _spice(task: _Task) -> list[Column]:
    return [Column("SPICE", *java.spice(task.corpus.candidates, task.corpus.references))]


def _mean(name: str, per_image: Sequence[float]) -> Column:
    return Column(name, float(np.mean(per_image)), per_image)


METRICS: dict[str, Callable[[_Task], list[Column]]] = {
    "BLEU": _bleu,
    "ROUGE-L": _rouge_l,
    "CIDEr-D": _cider_d,
    "CIDEr": _cider,
    "METEOR": _meteor,
    "SPICE": _spice,
}


# The scores that a metric gives.
SCORES: dict[str, tuple[str, ...]] = {name: (name,) for name in METRICS} | {
    "BLEU": tuple(f"BLEU-{n}" for n in range(1, MAX_ORDER + 1))
}


def _not_computed(scores: Collection[str]) -> dict[str, str]:
    """The scores that were not asked for or cannot be had, each with the reason."""
    unknown = sorted({*scores}.difference(*SCORES.values()))
    if unknown or not scores:
        raise InputError(
            f"there is no caption metric {', '.join(unknown) or 'given'}; "
            f"choose of {', '.join(METRICS)}"
        )
    reasons = {
        name: java.missing(name) if name in scores else f"{java.needed()}, then --metrics {name}"
        for name in ("METEOR", "SPICE")
    }
    return {name: reason for name, reason in reasons.items() if reason is not None}


def document_frequencies(references: Mapping[ImageId, Sequence[str]]) -> DocumentFrequencies:
    """Those of a corpus, from the raw captions of its images."""
    corpus = Corpus([], tokenize_references(references))
    return DocumentFrequencies.from_references(corpus.reference_words)


def _check_images(
    candidates: Mapping[ImageId, str], references: Mapping[ImageId, Sequence[str]]
) -> None:
    if not references:
        raise InputError("the references hold no image: give captions of at least one")
    _refuse(
        [image for image in references if image not in candidates],
        "references but no candidate: give each one caption",
    )
    _refuse(
        [image for image in candidates if image not in references],
        "a candidate but no references: drop the candidates or add references",
    )
    _refuse(
        [image for image, captions in references.items() if not len(captions)],
        "an empty list of references: give each at least one caption, or leave it out",
    )


def _check_captions(
    candidates: Mapping[ImageId, str], references: Mapping[ImageId, Sequence[str]]
) -> None:
    _refuse(
        [image for image, caption in candidates.items() if not isinstance(caption, str)],
        "a candidate that is not a string: give each one caption as text",
    )
    _refuse(
        [
            image
            for image, captions in references.items()
            if isinstance(captions, str) or not all(isinstance(text, str) for text in captions)
        ],
        "references that are not a list of strings: give each a list of captions",
    )


def _refuse(images: Sequence[Hashable], problem: str) -> None:
    if images:
        raise InputError(f"{who_has('image', [repr(image) for image in images])} {problem}")
