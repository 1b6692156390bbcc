"""Scores as tables for people, one row a captioner or a kind of question."""

from collections.abc import Mapping
from typing import Any

from vlm.metrics.vqa import rounded


def score_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A text table of caption scores, times 100.

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


def accuracy_table(rows: Mapping[str, float]) -> str:
    """A text table of accuracies in per cent, with two decimals as VQA publishes them.

    Args:
        rows: accuracy by kind of question, in per cent.
    """
    first = max(len(name) for name in rows)
    return "\n".join(f"{name:<{first}}{rounded(value):>8.2f}" for name, value in rows.items())


def answer_table(metrics: Mapping[str, Any]) -> str:
    """A text table of VQA accuracy, overall, by kind of answer, then by type of question.

    Args:
        metrics: what :meth:`vlm.metrics.vqa.VqaScores.record` gives.
    """
    rows = {_row(kind): of for kind, of in metrics["scores"].items()}
    rows |= {f"  {_row(kind)}": of for kind, of in metrics["question types"].items()}
    return accuracy_table(rows)


def answer_columns(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """The VQA accuracies of several models on the same questions, side by side.

    Args:
        rows: of each model what :meth:`vlm.metrics.vqa.VqaScores.record` gives.
    """
    columns = {title: row["scores"] | row["question types"] for title, row in rows.items()}
    kinds = list(next(iter(columns.values())))
    first = max(len(_row(kind)) for kind in kinds)
    lines = [" " * first + "".join(f"{title:>18}" for title in columns)]
    for kind in kinds:
        cells = "".join(f"{column[kind]:>18.1f}" for column in columns.values())
        lines.append(f"{_row(kind):<{first}}{cells}")
    return "\n".join(lines)


def _row(kind: str) -> str:
    """The name of a row, on one line, for questions without a type too."""
    return " ".join(kind.split()) or "(none)"
