"""Captions in a result file against those of people."""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlm.cli.arguments import score_names
from vlm.cli.report import Report, provenance
from vlm.cli.selection import Selection
from vlm.cli.table import score_table
from vlm.errors import InputError
from vlm.formats.captions import read_captions
from vlm.formats.ids import Id, as_listed, shown
from vlm.formats.instances import read_objects
from vlm.formats.results import CAPTIONS
from vlm.metrics.captions import (
    SCORES,
    STANDARD,
    CaptionScores,
    document_frequencies,
    score_captions,
)
from vlm.metrics.diversity import caption_diversity
from vlm.metrics.hallucination import ChairScores, Synonyms, chair
from vlm.metrics.health import health
from vlm.metrics.signature import object_signature
from vlm.text.ptb import tokenize

Captions = Mapping[Id, str]
References = Mapping[Id, Sequence[str]]
WEIGHED = ("CIDEr-D", "CIDEr")  # by document frequencies


def evaluate_captions(options: argparse.Namespace) -> Report:
    """Agreement with people, by domain where the images have one, and what else can be told."""
    scores = _score_names(options)
    samples = read_captions(Path(options.references), Path())
    listed = {sample.image_id: sample.captions for sample in samples}
    captions, bare = _described(options, listed)
    references = {key: listed[key] for key in captions}
    domains = {sample.image_id: sample.domain for sample in samples if sample.image_id in captions}
    whole, parts = _agreement(options, captions, references, domains, scores=scores)
    metrics = whole.record()
    if bare:
        metrics["images without references"] = len(bare)
    if parts:
        metrics["domains"] = {name: part.record() for name, part in parts.items()}
    more = _beyond_agreement(options, captions)
    objects: dict[Id, dict[str, Any]] = {}
    if options.instances is not None:
        more["CHAIR"], objects = _hallucination(options, captions, references)
    lines = [
        *_told(more, whole.not_computed, images=len(captions)),
        *([f"{len(bare)} left out, without references: {shown(bare)}"] if bare else []),
        *provenance(metrics, len(captions), len(listed), "images"),
    ]
    rows = {"all": whole.corpus} | {name: part.corpus for name, part in parts.items()}
    records = [
        {"image_id": key, **row, **objects.get(key, {})} for key, row in whole.per_image.items()
    ]
    return Report(metrics | more, records, "\n".join([score_table(rows), *lines]))


def _score_names(options: argparse.Namespace) -> Sequence[str]:
    """The scores to compute; without one that is weighed, no document frequencies."""
    if options.metrics is None:
        return STANDARD
    names = score_names(options.metrics, SCORES)
    if options.frequencies is not None and not {*WEIGHED} & {*names}:
        raise InputError(
            f"--frequencies is for {' and '.join(WEIGHED)}, got --metrics {options.metrics}; "
            "name one of them there, or leave --frequencies out"
        )
    return names


def _described(
    options: argparse.Namespace, listed: References
) -> tuple[dict[Id, str], Sequence[Id]]:
    """The captions to score, and the images among the selected that people did not describe."""
    selection = Selection(options.split, options.partial)
    written = selection.read(Path(options.results), CAPTIONS, listed)
    bare = [key for key in written if not listed[key]]
    if bare and not options.partial:
        raise InputError(
            f"{options.references} has no caption of image_id {shown(bare)}; give each one or "
            "more, or leave them out with --partial"
        )
    captions = {key: text for key, text in written.items() if listed[key]}
    if not captions:
        raise InputError(f"{options.references} has no caption of the images to score; give some")
    return captions, bare


def _agreement(
    options: argparse.Namespace,
    captions: Captions,
    references: References,
    domains: Mapping[Id, str],
    *,
    scores: Sequence[str],
) -> tuple[CaptionScores[Id], dict[str, CaptionScores[Id]]]:
    """The scores of all images, and of each domain as a corpus of its own."""
    stored = options.frequencies
    frequencies = (
        None if stored is None else document_frequencies(_people(Path(stored), "--frequencies"))
    )

    def score(ids: Collection[Id], where: str) -> CaptionScores[Id]:
        if len(ids) == 1 and frequencies is None:
            _explain_single_image(scores, where)
        return score_captions(
            {key: captions[key] for key in ids},
            {key: references[key] for key in ids},
            metrics=scores,
            frequencies=frequencies,
        )

    whole = score(captions, "with one image")
    names = sorted(set(domains.values()) - {""})
    return whole, {
        name: score(
            [key for key in captions if domains[key] == name],
            f"in domain {name}, which has one image,",
        )
        for name in names
    }


def _beyond_agreement(options: argparse.Namespace, captions: Captions) -> dict[str, dict[str, Any]]:
    """Health and diversity."""
    tokens = tokenize(list(captions.values()))
    training = None
    if options.training is not None:
        groups = _people(Path(options.training), "--training").values()
        training = tokenize([text for group in groups for text in group])
    words = None if training is None else {word for caption in training for word in caption}
    return {
        "health": asdict(health(tokens, vocabulary=words)),
        "diversity": asdict(caption_diversity(tokens, training=training)),
    }


def _hallucination(
    options: argparse.Namespace, captions: Captions, references: References
) -> tuple[dict[str, Any], dict[Id, dict[str, Any]]]:
    """CHAIR of the images whose objects are given, and what it says of each of them."""
    objects = as_listed(read_objects(Path(options.instances)), captions)
    bare = [key for key in captions if key not in objects]
    if bare and not (options.partial and len(bare) < len(captions)):
        remedy = "" if options.partial else ", or score those that are there with --partial"
        raise InputError(
            f"{options.instances} lacks image_id {shown(bare)}; give the instances of all "
            f"images{remedy}"
        )
    covered = {key: text for key, text in captions.items() if key in objects}
    table = options.synonyms
    synonyms = Synonyms.own() if table is None else Synonyms.published(Path(table))
    scores = chair(covered, references, objects, synonyms=synonyms)
    signature = object_signature(synonyms.hash, {key: objects[key] for key in covered}, references)
    metrics = {"CHAIRs": scores.chair_s, "CHAIRi": scores.chair_i}
    metrics |= {"images": len(covered), "signature": signature}
    return metrics, {key: _named_objects(scores, key) for key in covered}


def _named_objects(scores: ChairScores[Id], image: Id) -> dict[str, Any]:
    """What is added to the record of an image; without any mention CHAIRi has no value."""
    return {
        "CHAIRi": scores.share(image),
        "mentioned objects": scores.mentioned[image],
        "hallucinated objects": scores.hallucinated[image],
    }


def _people(file: Path, option: str) -> dict[Id, tuple[str, ...]]:
    """The captions of a file that an option names, of which there are some."""
    captions = {sample.image_id: sample.captions for sample in read_captions(file, Path())}
    if not any(captions.values()):
        raise InputError(f"{option} expected captions that people wrote, got none in {file}")
    return captions


def _told(
    more: Mapping[str, Mapping[str, Any]], not_computed: Mapping[str, str], *, images: int
) -> list[str]:
    """What stands below the scores, for people."""
    lines = [f"{title}: {_shown(values)}" for title, values in more.items()]
    covered = more["CHAIR"]["images"] if "CHAIR" in more else images
    if covered < images:
        lines.append(f"CHAIR covers {covered} of {images} images, those that the instances list")
    return lines + [f"{name} not computed: {reason}" for name, reason in not_computed.items()]


def _shown(values: Mapping[str, Any]) -> str:
    """Those that there are."""
    return ", ".join(
        f"{name.replace('_', ' ')} {format(value, '.4g') if isinstance(value, float) else value}"
        for name, value in values.items()
        if value is not None
    )


def _explain_single_image(scores: Sequence[str], where: str) -> None:
    """Says why scores are 0 that weigh n-grams by how few images have them."""
    zero = [name for name in WEIGHED if name in scores]
    if zero:
        print(
            f"vlm: warning: {where} no n-gram is rarer than another, so {' and '.join(zero)} "
            f"{'is' if len(zero) == 1 else 'are'} 0 by definition; --frequencies CAPTIONS.json "
            "takes document frequencies from a larger set",
            file=sys.stderr,
        )
