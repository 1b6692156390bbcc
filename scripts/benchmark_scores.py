"""How fast the caption scores are, beside pycocoevalcap on the same captions in the same run.

Whole evaluations are timed as processes, stages within this one, both in seconds of CPU with those
of child processes (pycocoevalcap tokenises in Java), in interleaved rounds. Tokenisation is cold:
the memory of chunks is cleared before every round. Also shown is whether the scores are equal, and
what the same captions score on raw strings, as evaluation kits without Java have it.

    pip install -e ".[bench]"
    python scripts/benchmark_scores.py captions_val2017.json results.json
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from official_scores import Texts, official, read, timed
from pycocoevalcap.cider.cider import Cider

from vlm.metrics.bleu import bleu
from vlm.metrics.cider import DocumentFrequencies, cider_d
from vlm.metrics.corpus import Corpus, tokenize_references
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.reward import CiderDReward
from vlm.metrics.rouge import rouge_l
from vlm.text import ptb

SAMPLES = 1000
REPEATS = 10  # calls of the reward in one round, too short to time alone
OFFICIAL = Path(__file__).with_name("official_scores.py")

Seconds = dict[str, float]


class Process(NamedTuple):
    """CPU seconds, wall seconds and peak MiB of a command with its children."""

    cpu: float
    wall: float
    peak: float


def process(*command: str) -> Process:
    """Runs a command to its end."""
    begun = os.times().elapsed
    child = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} failed with status {child.returncode}")
    wall = os.times().elapsed - begun
    return Process(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss / 1024)


def ours(candidates: Texts, references: Texts) -> tuple[Seconds, list[Any]]:
    """Seconds by stage, then scores; the n-grams that BLEU and CIDEr-D share count as BLEU."""
    seconds = {}
    ptb._lex_chunk.cache_clear()
    seconds["tokens"], corpus = timed(lambda: corpus_of(candidates, references))
    seconds["BLEU"], bleus = timed(lambda: bleu(corpus.ngrams))
    seconds["ROUGE-L"], rouges = timed(lambda: rouge_l(corpus.candidates, corpus.references))
    seconds["CIDEr-D"], ciders = timed(lambda: cider_d(corpus.ngrams))
    return seconds, [np.array(bleus.per_image), np.array(rouges), ciders]


def corpus_of(candidates: Texts, references: Texts) -> Corpus:
    """The tokens of both sides."""
    tokens = ptb.tokenize([text for texts in candidates.values() for text in texts])
    return Corpus(tokens, tokenize_references(references))


def rewards(corpus: Corpus, rounds: int) -> tuple[list[Seconds], list[Seconds], float]:
    """Seconds for the rewards of sampled captions, theirs and ours, and the furthest difference.

    Ours has the references of all images at hand and the document frequencies of the sampled ones.
    """
    some, sampled = range(SAMPLES), corpus.candidates[:SAMPLES]
    references = corpus.reference_words
    frequencies = DocumentFrequencies.from_references(references[:SAMPLES])
    cached = CiderDReward(references, frequencies=frequencies)
    res = {i: [" ".join(sampled[i])] for i in some}
    gts = {i: [" ".join(words) for words in references[i]] for i in some}
    name, theirs, own, difference = f"reward of {SAMPLES}", [], [], 0.0
    for _ in range(rounds):
        seconds, (_, wanted) = timed(lambda: Cider().compute_score(gts, res))
        theirs.append({name: seconds})
        seconds, found = timed(lambda: [cached.score(sampled, some) for _ in range(REPEATS)])
        own.append({name: seconds / REPEATS})
        difference = max(difference, float(np.abs(wanted - found[0]).max()))
    return theirs, own, difference


def report(theirs: Sequence[Seconds], own: Sequence[Seconds]) -> None:
    """One line a stage: how many times ours theirs is, median and range, then median seconds."""
    for name in theirs[0]:
        ratios = [slow[name] / fast[name] for slow, fast in zip(theirs, own, strict=True)]
        medians = [statistics.median(seconds[name] for seconds in side) for side in (theirs, own)]
        spread = f"[{min(ratios):.1f}..{max(ratios):.1f}]"
        seconds = "{:8.3f} s {:8.4f} s".format(*medians)
        print(f"{name:16}{statistics.median(ratios):7.1f}x {spread:16}{seconds}", flush=True)


def report_processes(references: str, results: str, rounds: int) -> None:
    """A line for whole evaluations; ours also reports health, diversity and a signature."""
    evaluate = ("-m", "vlm", "evaluate", results, "--references", references)
    pairs = [
        (process(str(OFFICIAL), references, results), process(*evaluate)) for _ in range(rounds)
    ]
    theirs, own = zip(*pairs, strict=True)
    name = "whole process"
    report([{name: run.cpu} for run in theirs], [{name: run.cpu} for run in own])
    walls = [statistics.median(run.wall for run in side) for side in (theirs, own)]
    peak = max(run.peak for run in own)
    print("  on the clock {:.1f} s and {:.1f} s;".format(*walls), f"ours peaks at {peak:.0f} MiB")


def report_equality(wanted: Sequence[Any], found: Sequence[Any], rewarded: float) -> None:
    """Whether both routes give the same scores."""
    same = [np.array_equal(a, b) for a, b in zip(wanted[:2], found[:2], strict=True)]
    furthest = np.abs(wanted[2] - found[2]).max()
    print(f"BLEU equal to the bit: {same[0]}, ROUGE-L: {same[1]}")
    print(f"largest difference in CIDEr-D: {furthest:.1e}, in the reward: {rewarded:.1e}")
    print(f"within 1e-12: {bool(max(furthest, rewarded) <= 1e-12)}")


def raw_cider(candidates: Texts, references: Texts) -> float:
    """CIDEr-D on strings parted at their spaces, as kits that leave tokenisation out have it."""
    human = [[text.split() for text in texts] for texts in references.values()]
    own = [text.split() for texts in candidates.values() for text in texts]
    return float(cider_d(count_ngrams(own, human)).mean())


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("references", help="COCO captions JSON")
    parser.add_argument("results", help="COCO results of the same images")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("pycocoevalcap", "numpy"))
    print(f"{packages}, Python {platform.python_version()}; {given.rounds} rounds: how many times")
    print("ours, median and [range]; then median seconds of CPU, theirs and ours")
    # First, as a process never shows a smaller peak than what started it had at that time.
    report_processes(given.references, given.results, given.rounds)
    candidates, references = read(Path(given.references), Path(given.results))
    runs = [
        (official(candidates, references), ours(candidates, references))
        for _ in range(given.rounds)
    ]
    report(*([with_sum(seconds) for seconds, _ in side] for side in zip(*runs, strict=True)))
    wanted, found = (scores for _, scores in runs[-1])
    *seconds, difference = rewards(corpus_of(candidates, references), given.rounds)
    report(*seconds)
    report_equality(wanted, found, difference)
    scores = [100 * side[2].mean() for side in (wanted, found)]
    scores.append(100 * raw_cider(candidates, references))
    print("CIDEr-D by pycocoevalcap {:.1f}, by us {:.1f}, on raw strings {:.1f}".format(*scores))


def with_sum(seconds: Seconds) -> Seconds:
    """The stages and all of them together."""
    return {**seconds, "all stages": sum(seconds.values())}


if __name__ == "__main__":
    main()
