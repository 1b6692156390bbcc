"""How well caption scores agree with people: Kendall's tau-c with their ratings.

The file has one JSON object a line: ``caption``, ``references`` (a list of captions) and ``score``,
what a person gave the caption. An image rated by several people, or with several captions, has
several rows; for Flickr8k-Expert, each of the three ratings of a caption is a row.

Every row is scored by itself. Only the document frequencies of CIDEr-D need to know images: each
distinct list of references is one image, counted once however many rows have it.

    python scripts/human_correlation.py ratings.jsonl --json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlm.errors import InputError
from vlm.files import read_text
from vlm.metrics.captions import document_frequencies, score_captions

NAMES = ("BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D")


class Rating(NamedTuple):
    """A caption, what people wrote of the same image, and what one of them gave the caption."""

    caption: str
    references: tuple[str, ...]
    score: float


def kendall_tau_c(x: ArrayLike, y: ArrayLike) -> float:
    """Rank correlation for two scales with different numbers of steps (Stuart, 1953).

    With ``P`` pairs in the same order on both scales and ``Q`` in opposite order it is
    ``2 m (P - Q) / (n^2 (m - 1))``, ``m`` being the smaller number of distinct values. Takes
    O(n log n) time.

    Args:
        x: ``(n,)`` numbers.
        y: ``(n,)`` numbers.

    Returns:
        In [-1, 1].

    Raises:
        InputError: The lengths differ, a number is not finite, or all of ``x`` or ``y`` are equal.
    """
    ranks = [_ranks(x, "x"), _ranks(y, "y")]
    if len(ranks[0]) != len(ranks[1]):
        raise InputError(
            f"x has {len(ranks[0])} numbers and y {len(ranks[1])}: give one of each for every row"
        )
    steps = min(int(rank.max()) + 1 for rank in ranks)
    n = len(ranks[0])
    return 2 * steps * _concordance(*ranks) / (n**2 * (steps - 1))


def _ranks(values: ArrayLike, name: str) -> NDArray[np.int64]:
    """``(n,)``: 0 for the smallest value, equal ranks for equal values."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError(f"{name} must be one row of finite numbers: leave out what has no score")
    distinct, ranks = np.unique(values, return_inverse=True)
    if len(distinct) < 2:
        raise InputError(
            f"{name} has {len(distinct)} distinct values, which order nothing: give at least two"
        )
    return ranks


def _concordance(x: NDArray[np.int64], y: NDArray[np.int64]) -> int:
    """``P - Q``, from the pairs in opposite order and those that are tied."""

    def pairs(ranks: NDArray[np.int64]) -> int:
        sizes = np.unique(ranks, return_counts=True)[1]
        return int((sizes * (sizes - 1) // 2).sum())

    n = len(x)
    both = pairs(x * n + y)
    untied = n * (n - 1) // 2 - pairs(x) - pairs(y) + both
    return untied - 2 * _inversions(y[np.lexsort((y, x))])  # equal x: ascending, so no inversion


def _inversions(ranks: NDArray[np.int64]) -> int:
    """Pairs of which the larger rank comes first.

    Two ranks differ first at some bit. So going down the bits, with equal upper bits side by side
    in the order given, the inversions of a bit are its ones before each zero in the same group.
    """
    found = 0
    for bit in reversed(range(int(ranks.max()).bit_length())):
        group, one = ranks >> (bit + 1), ranks >> bit & 1
        before = np.cumsum(one) - one
        start = np.searchsorted(group, group)  # groups are sorted
        found += int((before - before[start])[one == 0].sum())
        ranks = ranks[np.argsort(ranks >> bit, kind="stable")]
    return found


def read_ratings(file: Path) -> list[Rating]:
    """The rows of a file, blank lines left out.

    Raises:
        InputError: The file cannot be read, has no row, or a row is not as it should be.
    """
    lines = read_text(file).split("\n")  # not splitlines, which also breaks at U+2028 in a caption
    ratings = [
        _rating(line, f"line {number} of {file}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not ratings:
        raise InputError(f"file {file} has no row: give one JSON object a line")
    return ratings


def _rating(line: str, place: str) -> Rating:
    try:
        row = json.loads(line)
    except ValueError as error:
        reason = getattr(error, "msg", error)
        raise InputError(f"{place} is not JSON ({reason}): give one object a line") from error
    fields = ("caption", "references", "score")
    missing = [name for name in fields if not isinstance(row, dict) or name not in row]
    if missing:
        raise InputError(f"{place} lacks {', '.join(missing)}: give all of {', '.join(fields)}")
    caption, references, score = (row[name] for name in fields)
    if not isinstance(caption, str):
        raise InputError(f"{place} has a caption that is {_show(caption)}: give it as text")
    if not (isinstance(references, list) and references) or not all(
        isinstance(text, str) for text in references
    ):
        raise InputError(
            f"{place} has references that are {_show(references)}: give a list of captions"
        )
    number = isinstance(score, int | float) and not isinstance(score, bool)
    if not (number and abs(score) <= sys.float_info.max):  # false of NaN
        raise InputError(f"{place} has a score that is {_show(score)}: give a finite number")
    return Rating(caption, tuple(references), score)


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def score(ratings: Sequence[Rating]) -> dict[str, list[float]]:
    """The scores of every row, by name."""
    images = {rating.references: rating.references for rating in ratings}
    scored = score_captions(
        {row: rating.caption for row, rating in enumerate(ratings)},
        {row: rating.references for row, rating in enumerate(ratings)},
        frequencies=document_frequencies(images),
    )
    return {name: [row[name] for row in scored.per_image.values()] for name in NAMES}


def correlate(ratings: Sequence[Rating]) -> dict[str, float | None]:
    """Kendall's tau-c of each score with the ratings; None where all rows score the same.

    Raises:
        InputError: All ratings are equal.
    """
    human = [rating.score for rating in ratings]
    if len(set(human)) < 2:
        raise InputError(
            f"all ratings are {human[0]:g}, which order nothing: give rows of at least two ratings"
        )
    return {
        name: kendall_tau_c(scores, human) if len(set(scores)) > 1 else None
        for name, scores in score(ratings).items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the correlations; 2 for a file that cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="JSON lines of caption, references and score")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args(arguments)
    try:
        ratings = read_ratings(given.file)
        taus = correlate(ratings)
    except InputError as error:
        print(f"human_correlation: error: {error}", file=sys.stderr)
        return 2
    images = len({rating.references for rating in ratings})
    if given.json:
        print(json.dumps({"rows": len(ratings), "images": images, "kendall_tau_c": taus}, indent=1))
        return 0
    print(f"{len(ratings)} rows, {images} distinct lists of references; Kendall's tau-c in [-1, 1]")
    for name, tau in taus.items():
        print(
            f"{name:8} {'not defined: all rows score the same' if tau is None else f'{tau:6.3f}'}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
