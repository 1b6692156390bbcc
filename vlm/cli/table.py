"""Scores as a table for people: times 100, one row a captioner."""

from collections.abc import Mapping


def score_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A text table.

    Args:
        rows: of each captioner its scores by name, in the reference programs' units.
    """
    names = list(next(iter(rows.values())))
    first = max(len(name) for name in rows)
    lines = [" " * first + "".join(f"{name:>10}" for name in names)]
    for title, scores in rows.items():
        lines.append(
            f"{title:<{first}}" + "".join(f"{100 * scores[name]:>10.1f}" for name in names)
        )
    return "\n".join(lines)
