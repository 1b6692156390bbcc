"""Captions in a result file against those of people."""

import argparse
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vlm.cli.report import Report, provenance
from vlm.cli.selection import Selection
from vlm.cli.table import score_table
from vlm.formats.captions import read_captions
from vlm.formats.ids import Id, as_listed
from vlm.formats.instances import read_objects
from vlm.formats.results import CAPTIONS
from vlm.metrics.captions import STANDARD, CaptionScores, document_frequencies, score_captions
from vlm.metrics.diversity import caption_diversity
from vlm.metrics.hallucination import Synonyms, chair
from vlm.metrics.health import health
from vlm.metrics.signature import object_signature
from vlm.text.ptb import tokenize

Captions = Mapping[Id, str]
References = Mapping[Id, Sequence[str]]


def evaluate_captions(options: argparse.Namespace) -> Report:
    """Agreement with people, by domain where the images have one, and what else can be told."""
    samples = read_captions(Path(options.references), Path())
    listed = {sample.image_id: sample.captions for sample in samples}
    selection = Selection(options.split, options.partial)
    captions = selection.read(Path(options.results), CAPTIONS, listed)
    references = {key: listed[key] for key in captions}
    domains = {sample.image_id: sample.domain for sample in samples if sample.image_id in captions}
    whole, parts = _agreement(options, captions, references, domains)
    metrics = whole.record()
    if parts:
        metrics["domains"] = {name: part.record() for name, part in parts.items()}
    more = _beyond_agreement(options, captions, references)
    lines = [f"{title}: {_shown(values)}" for title, values in more.items()]
    lines += [f"{name} not computed: {reason}" for name, reason in whole.not_computed.items()]
    lines += provenance(metrics, len(captions), len(listed), "images")
    rows = {"all": whole.corpus} | {name: part.corpus for name, part in parts.items()}
    records = [{"image_id": key, **scores} for key, scores in whole.per_image.items()]
    return Report(metrics | more, records, "\n".join([score_table(rows), *lines]))


def _agreement(
    options: argparse.Namespace,
    captions: Captions,
    references: References,
    domains: Mapping[Id, str],
) -> tuple[CaptionScores[Id], dict[str, CaptionScores[Id]]]:
    """The scores of all images, and of each domain as a corpus of its own."""
    stored = options.frequencies
    frequencies = None if stored is None else document_frequencies(_references(Path(stored)))
    if len(captions) == 1 and frequencies is None:
        _explain_single_image()

    def score(ids: Collection[Id]) -> CaptionScores[Id]:
        return score_captions(
            {key: captions[key] for key in ids},
            {key: references[key] for key in ids},
            metrics=options.metrics.split(",") if options.metrics else STANDARD,
            frequencies=frequencies,
        )

    names = sorted(set(domains.values()) - {""})
    parts = {name: score([key for key in captions if domains[key] == name]) for name in names}
    return score(list(captions)), parts


def _beyond_agreement(
    options: argparse.Namespace, captions: Captions, references: References
) -> dict[str, dict[str, Any]]:
    """Health and diversity and, where the objects of the images are given, CHAIR."""
    tokens = tokenize(list(captions.values()))
    training = None
    if options.training is not None:
        groups = _references(Path(options.training)).values()
        training = tokenize([text for group in groups for text in group])
    words = None if training is None else {word for caption in training for word in caption}
    told: dict[str, dict[str, Any]] = {
        "health": asdict(health(tokens, vocabulary=words)),
        "diversity": asdict(caption_diversity(tokens, training=training)),
    }
    if options.instances is not None:
        told["CHAIR"] = _hallucination(options, captions, references)
    return told


def _hallucination(
    options: argparse.Namespace, captions: Captions, references: References
) -> dict[str, Any]:
    objects = as_listed(read_objects(Path(options.instances)), captions)
    table = options.synonyms
    synonyms = Synonyms.own() if table is None else Synonyms.published(Path(table))
    scores = chair(captions, references, objects, synonyms=synonyms)
    shown = {key: objects[key] for key in captions}
    signature = object_signature(synonyms.hash, shown, references)
    return {"CHAIRs": scores.chair_s, "CHAIRi": scores.chair_i, "signature": signature}


def _references(file: Path) -> dict[Id, tuple[str, ...]]:
    return {sample.image_id: sample.captions for sample in read_captions(file, Path())}


def _shown(values: Mapping[str, Any]) -> str:
    """Those that there are, for people."""
    there = {name: value for name, value in values.items() if value is not None}
    texts = (
        f"{name.replace('_', ' ')} {value if isinstance(value, str) else format(value, '.4g')}"
        for name, value in there.items()
    )
    return ", ".join(texts)


def _explain_single_image() -> None:
    print(
        "vlm: warning: with one image no n-gram is rarer than another, so CIDEr-D is 0 by "
        "definition; --frequencies CAPTIONS.json takes document frequencies from a larger set",
        file=sys.stderr,
    )
