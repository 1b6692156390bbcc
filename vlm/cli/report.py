"""What an evaluation says: to programs, image by image, and to people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import require_writable, write_json, write_lines


class Report(NamedTuple):
    """The outcome of an evaluation.

    Attributes:
        metrics: all scores and how they were made, as ``metrics.json`` holds them.
        records: one an image or question.
        text: the table for people.
    """

    metrics: Mapping[str, Any]
    records: list[dict[str, Any]]
    text: str

    def write(self, *, output: str | None, per_image: str | None) -> None:
        """Writes what is asked for, then prints the table.

        Args:
            output: JSON file of the metrics.
            per_image: JSON-lines file of the records.
        """
        targets = [Path(name) for name in (output, per_image) if name is not None]
        for target in targets:
            require_writable(target)
        if len(targets) > len(set(targets)):
            raise InputError(f"--output and --per-image both name {output}; name two files")
        if per_image is not None:
            write_lines(Path(per_image), self.records)
        if output is not None:
            write_json(Path(output), self.metrics)
        print(self.text)


def provenance(metrics: Mapping[str, Any], scored: int, listed: int, what: str) -> list[str]:
    """How many were scored and how, as lines below a table."""
    part = f" of {listed}" if scored != listed else ""
    return [f"{scored}{part} {what}", f"signature: {metrics['signature']}"]
