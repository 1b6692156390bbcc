"""Scores of maps as a table for people: reductions, what limits them, and a heat-map of heads."""

from collections.abc import Mapping
from typing import Any

from vlm.formats.word_maps import HEAD
from vlm.metrics.grounding_scores import SCORES

BY_REGION = SCORES[0]
COLUMNS = ("by region", "95 %", "by centre", "mass", "size-free", "entropy", "unique")
OVER = ("by region", "by centre", "mass", "size-free")  # as SCORES
WIDTH = 13
HEAT = " .:-=+*#%@"  # from nothing to all


def grounding_table(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Reductions of whole layers, the best head, ceiling and baselines; then all heads.

    Args:
        metrics: of each reduction its scores, the folder's own reduction first.
    """
    heads = {name: row for name, row in metrics.items() if _place(name)}
    whole = {name: row for name, row in metrics.items() if name not in heads}
    own, best = next(iter(metrics)), None
    if heads:
        best = max(heads, key=lambda name: heads[name][BY_REGION])
        whole[f"{best} (best head here)"] = heads[best]
    limits = {
        "ceiling (oracle)": ("ceiling",),
        "uniform": ("baselines", "uniform"),
        "centre": ("baselines", "centre"),
        f"shuffled ({own})": ("baselines", "shuffled"),
    }
    first = max(map(len, (*whole, *limits)))
    lines = [" " * first + "".join(f"{name:>{WIDTH}}" for name in COLUMNS)]
    lines += [f"{name:<{first}}{_cells(row, row['unique'])}" for name, row in whole.items()]
    row = metrics[own]
    for title, path in limits.items():
        lines.append(f"{title:<{first}}{_cells(_at(row, path), _at(row['unique'], path))}")
    return "\n".join([*lines, *_heat(heads), *_told(row)])


def _at(row: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any]:
    for key in path:
        row = row[key]
    return row


def _cells(row: Mapping[str, Any], unique: Mapping[str, Any]) -> str:
    """The cells of a row; scores in per cent, a ratio and a share as they are."""
    region, centre, mass, free = (row[name] for name in SCORES)
    interval = row.get("interval")
    between = "" if interval is None else f"{100 * interval[0]:.1f}-{100 * interval[1]:.1f}"
    texts = [
        *(_percent(region), between, _percent(centre), _percent(mass)),
        *(_plain(free), _plain(row.get("entropy")), _percent(unique[BY_REGION])),
    ]
    return "".join(f"{text:>{WIDTH}}" for text in texts)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _over(name: str, over: Mapping[str, Any]) -> str:
    """How much more than a central map, with its interval; a size-free share is no percentage."""
    scale = 1 if name == OVER[-1] else 100
    points, low, high = (scale * value for value in (over["points"], *over["interval"]))
    digits = 2 if scale == 1 else 1
    return f"{name} {points:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _heat(heads: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Pointing by region of each head, a row a layer; darker is better."""
    if not heads:
        return []
    places = {_place(name): row[BY_REGION] for name, row in heads.items()}
    layers, columns = (sorted({place[axis] for place in places}) for axis in (0, 1))
    lines = ["", "by region, head by head:"]
    lines.append(" " * 8 + "".join(f"{column:>8}" for column in columns))
    for layer in layers:
        values = [places[layer, column] for column in columns]
        cells = (f"{100 * value:>6.1f} {_shade(value)}" for value in values)
        lines.append(f"layer {layer:<2}" + "".join(cells))
    return [*lines, ""]


def _shade(value: float) -> str:
    return HEAT[min(int(value * len(HEAT)), len(HEAT) - 1)]


def _place(name: str) -> tuple[int, int] | tuple[()]:
    """Layer and head of a reduction that is a single head's; empty for others."""
    found = HEAD.fullmatch(name)
    return (int(found[1]), int(found[2])) if found and found[2] else ()


def _told(row: Mapping[str, Any]) -> list[str]:
    """What stands below the table."""
    about, unique = row["of"], row["unique"]["words"]
    lines = [
        f"words: {row['words']} in {about['images']} of the images, {unique} of them of an object "
        f"that is unique there; left out: {about['words not in the picture']} whose object is not "
        f"in the picture, {about['words without a mask']} whose object has no mask",
        "over the centre baseline: "
        + ", ".join(map(_over, OVER, (row["over centre"][name] for name in SCORES))),
    ]
    if row["baselines"]["shuffled"][BY_REGION] is None:
        lines.append("shuffled not computed: it needs maps of two images")
    return [*lines, f"signature: {about['signature']}"]
