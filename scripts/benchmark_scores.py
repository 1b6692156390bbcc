"""How fast the caption scores are, beside pycocoevalcap on the same captions in the same run.

Stages are timed in this process and whole evaluations as processes of their own, both in seconds of
CPU with those of child processes (pycocoevalcap tokenises in Java), in interleaved rounds. Also
shown is what the same captions score on raw strings, as evaluation kits without Java have it.

    pip install -e ".[bench]"
    python scripts/benchmark_scores.py captions_val2017.json results.json
"""

import argparse
import contextlib
import io
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from vlm.formats.captions import read_captions
from vlm.formats.results import CAPTIONS, read_results
from vlm.metrics.bleu import bleu
from vlm.metrics.cider import cider_d
from vlm.metrics.corpus import words
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.reward import CiderDReward
from vlm.metrics.rouge import rouge_l
from vlm.text import ptb

SAMPLES = 1000
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
    """Seconds by stage, then the scores: BLEU, ROUGE-L and CIDEr-D of each image."""
    seconds = {}
    records = [
        {k: [{"caption": t} for t in v] for k, v in x.items()} for x in (references, candidates)
    ]
    seconds["tokens"], (gts, res) = timed(lambda: [PTBTokenizer().tokenize(row) for row in records])
    seconds["BLEU"], (_, bleus) = timed(lambda: Bleu(4).compute_score(gts, res, verbose=0))
    seconds["ROUGE-L"], (_, rouges) = timed(lambda: Rouge().compute_score(gts, res))
    seconds["CIDEr-D"], (_, ciders) = timed(lambda: Cider().compute_score(gts, res))
    return seconds, [np.array(bleus).T, np.array(rouges), ciders]


def ours(candidates: Texts, references: Texts) -> tuple[dict[str, float], list[Any]]:
    """The same by this project; the n-grams that BLEU and CIDEr-D share are counted under BLEU."""
    seconds = {}
    ptb._lex_chunk.cache_clear()  # every round reads its first caption
    seconds["tokens"], (res, gts) = timed(lambda: tokens_of(candidates, references))
    plain = [words(caption) for caption in res], [[words(t) for t in row] for row in gts]
    counting, ngrams = timed(lambda: count_ngrams(*plain))
    scoring, bleus = timed(lambda: bleu(ngrams))
    seconds["BLEU"] = counting + scoring
    seconds["ROUGE-L"], rouges = timed(lambda: rouge_l(res, gts))
    seconds["CIDEr-D"], ciders = timed(lambda: cider_d(ngrams))
    return seconds, [np.array(bleus.per_image), np.array(rouges), ciders]


def tokens_of(candidates: Texts, references: Texts) -> tuple[list, list]:
    """One candidate and all references of each image, as tokens."""
    flat = iter(ptb.tokenize([text for row in references.values() for text in row]))
    gts = [[next(flat) for _ in row] for row in references.values()]
    return ptb.tokenize([candidates[key][0] for key in references]), gts


def raw_cider(candidates: Texts, references: Texts) -> float:
    """CIDEr-D on strings parted at their spaces, as kits that leave tokenisation out have it."""
    own = [candidates[key][0].split() for key in references]
    return float(
        cider_d(count_ngrams(own, [[t.split() for t in v] for v in references.values()])).mean()
    )


def reward(candidates: Texts, references: Texts, rounds: int) -> list[float]:
    """Ratios of CPU time for the reward of sampled captions, references cached on our side."""
    res, gts = tokens_of(candidates, references)
    keys = list(references)
    cached, some = CiderDReward(gts), range(SAMPLES)
    texts = {keys[i]: [" ".join(res[i])] for i in some}
    human = {keys[i]: [" ".join(t) for t in gts[i]] for i in some}
    cached.score(res[:SAMPLES], some)
    ratios = []
    for _ in range(rounds):
        theirs, _scores = timed(lambda: Cider().compute_score(human, texts))
        own, _scores = timed(lambda: [cached.score(res[:SAMPLES], some) for _ in range(10)])
        ratios.append(theirs / (own / 10))
        print(
            f"  reward of {SAMPLES}: {1000 * theirs:.0f} ms and {100 * own:.1f} ms", file=sys.stderr
        )
    return ratios


def process(command: Sequence[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak MiB of a command with its children."""
    begun = os.times().elapsed
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {child.returncode}")
    wall = os.times().elapsed - begun
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024


def row(name: str, ratios: Sequence[float], note: str = "") -> None:
    """One line of the table: median and range of the ratios."""
    spread = f"[{min(ratios):.1f}..{max(ratios):.1f}]"
    print(f"{name:<34}{statistics.median(ratios):>7.1f}x  {spread:<16}{note}")


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("references", help="COCO captions JSON")
    parser.add_argument("results", help="COCO results of the same images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--official-alone", action="store_true", help="one evaluation, no table")
    options = parser.parse_args()
    samples = read_captions(Path(options.references), Path())
    references = {sample.image_id: list(sample.captions) for sample in samples}
    candidates = {k: [t] for k, t in read_results(Path(options.results), CAPTIONS).items()}
    if options.official_alone:
        official(candidates, references)
        return
    stages: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        theirs, wanted = official(candidates, references)
        own, found = ours(candidates, references)
        for name in theirs:
            stages.setdefault(name, []).append(theirs[name] / own[name])
        stages.setdefault("all stages", []).append(sum(theirs.values()) / sum(own.values()))
    for name, ratios in stages.items():
        row(name, ratios)
    files = [options.references, options.results]
    alone = [sys.executable, __file__, *files, "--official-alone"]
    mine = [sys.executable, "-m", "vlm", "evaluate", files[1], "--references", files[0]]
    pairs = [(process(alone), process(mine)) for _ in range(options.rounds)]
    peak = max(own[2] for _, own in pairs)
    seconds = [statistics.median(side[1] for side in sides) for sides in zip(*pairs, strict=True)]
    note = f"{seconds[0]:.1f} s and {seconds[1]:.1f} s of wall clock, ours in {peak:.0f} MiB"
    row("whole process", [theirs[0] / own[0] for theirs, own in pairs], note)
    row(f"reward of {SAMPLES} captions", reward(candidates, references, options.rounds))
    equal = [np.array_equal(a, b) for a, b in zip(wanted[:2], found[:2], strict=True)]
    furthest = np.abs(np.array(wanted[2]) - found[2]).max()
    print(f"BLEU equal to the bit: {equal[0]}, ROUGE-L: {equal[1]}, CIDEr-D within {furthest:.1e}")
    scores = (
        100 * np.mean(wanted[2]),
        100 * np.mean(found[2]),
        100 * raw_cider(candidates, references),
    )
    print("CIDEr-D by pycocoevalcap {:.1f}, by us {:.1f}, on raw strings {:.1f}".format(*scores))


if __name__ == "__main__":
    main()
