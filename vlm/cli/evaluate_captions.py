"""Captions in a result file against those of people."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from vlm.cli.report import Report, provenance
from vlm.cli.selection import Selection
from vlm.cli.table import score_table
from vlm.formats.captions import read_captions
from vlm.formats.results import CAPTIONS
from vlm.metrics.captions import STANDARD, CaptionScores, document_frequencies, score_captions
from vlm.metrics.diversity import caption_diversity
from vlm.metrics.health import health
from vlm.text.ptb import tokenize


def evaluate_captions(options: argparse.Namespace) -> Report:
    """Agreement with people, by domain where the images have one, and what else is asked for."""
    samples = read_captions(Path(options.references), Path())
    listed = {sample.image_id: sample.captions for sample in samples}
    domains = {sample.image_id: sample.domain for sample in samples}
    selection = Selection(options.split, options.partial)
    captions = selection.read(Path(options.results), CAPTIONS, listed)
    references = {key: listed[key] for key in captions}
    stored = options.frequencies
    frequencies = None if stored is None else document_frequencies(_references(Path(stored)))
    if len(captions) == 1 and frequencies is None:
        _explain_single_image()

    def score(ids: list) -> CaptionScores:
        return score_captions(
            {key: captions[key] for key in ids},
            {key: references[key] for key in ids},
            metrics=options.metrics.split(",") if options.metrics else STANDARD,
            frequencies=frequencies,
        )

    whole = score(list(captions))
    names = sorted({domains[key] for key in captions} - {""})
    parts = {name: score([key for key in captions if domains[key] == name]) for name in names}
    metrics = whole.record()
    if parts:
        metrics["domains"] = {name: part.record() for name, part in parts.items()}
    metrics |= describe_captions(list(captions.values()), options.training)
    rows = {"all": whole.corpus} | {name: part.corpus for name, part in parts.items()}
    lines = [f"{name}: {_listed(metrics[name])}" for name in ("health", "diversity")]
    lines += [f"{name} not computed: {reason}" for name, reason in whole.not_computed.items()]
    lines += provenance(metrics, len(captions), len(listed), "images")
    records = [{"image_id": key, **scores} for key, scores in whole.per_image.items()]
    return Report(metrics, records, "\n".join([score_table(rows), *lines]))


def _references(file: Path) -> dict:
    return {sample.image_id: sample.captions for sample in read_captions(file, Path())}


def describe_captions(captions: Sequence[str], training: str | None) -> dict[str, dict]:
    """What needs no references: health and diversity, told from training captions if given."""
    tokens = tokenize(captions)
    known = None
    if training is not None:
        texts = _references(Path(training)).values()
        known = tokenize([text for group in texts for text in group])
    vocabulary = None if known is None else {word for caption in known for word in caption}
    return {
        "health": asdict(health(tokens, vocabulary=vocabulary)),
        "diversity": asdict(caption_diversity(tokens, training=known)),
    }


def _listed(values: Mapping[str, float | None]) -> str:
    """Those that there are, for people."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in values.items()
        if value is not None
    )


def _explain_single_image() -> None:
    print(
        "vlm: warning: with one image no n-gram is rarer than another, so CIDEr-D is 0 by "
        "definition; --frequencies CAPTIONS.json takes document frequencies from a larger set",
        file=sys.stderr,
    )
