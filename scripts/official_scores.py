"""The caption scores of pycocoevalcap, stage by stage; a whole evaluation when run as a program.

It imports nothing of this project, so that such a process costs what it does without it.

    python scripts/official_scores.py captions_val2017.json results.json
"""

import contextlib
import gzip
import io
import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

Texts = Mapping[Any, Sequence[str]]


def cpu_seconds() -> float:
    """Of this process and of the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(stage: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a stage, and what it returns; what it prints is dropped."""
    begun = cpu_seconds()
    with contextlib.redirect_stdout(io.StringIO()):
        result = stage()
    return cpu_seconds() - begun, result


def official(candidates: Texts, references: Texts) -> tuple[dict[str, float], list[Any]]:
    """Seconds by stage, then the scores of each image: BLEU, ROUGE-L and CIDEr-D."""
    seconds = {}
    sides = [
        {key: [{"caption": text} for text in texts] for key, texts in side.items()}
        for side in (references, candidates)
    ]
    seconds["tokens"], (gts, res) = timed(lambda: [PTBTokenizer().tokenize(side) for side in sides])
    seconds["BLEU"], (_, bleus) = timed(lambda: Bleu(4).compute_score(gts, res, verbose=0))
    seconds["ROUGE-L"], (_, rouges) = timed(lambda: Rouge().compute_score(gts, res))
    seconds["CIDEr-D"], (_, ciders) = timed(lambda: Cider().compute_score(gts, res))
    return seconds, [np.array(bleus).T, np.array(rouges), np.array(ciders)]


def read(references: Path, results: Path) -> tuple[Texts, Texts]:
    """One candidate and all references of each image, in the order of the references."""
    unpack = gzip.decompress if references.suffix == ".gz" else bytes
    human: dict[Any, list[str]] = {}
    for row in json.loads(unpack(references.read_bytes()))["annotations"]:
        human.setdefault(row["image_id"], []).append(row["caption"])
    found = {row["image_id"]: [row["caption"]] for row in json.loads(results.read_bytes())}
    return {key: found[key] for key in human}, human


if __name__ == "__main__":
    _, scores = official(*read(*map(Path, sys.argv[1:3])))
    print(f"ROUGE-L {100 * scores[1].mean():.1f}, CIDEr-D {100 * scores[2].mean():.1f}")
