"""What an evaluation says: to programs, image by image, and to people."""

from collections.abc import Iterable, Mapping
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
        if per_image is not None:
            write_lines(Path(per_image), self.records)
        if output is not None:
            write_json(Path(output), self.metrics)
        print(self.text)


def check_targets(targets: Mapping[str, str | None], sources: Iterable[str]) -> None:
    """Holds that outputs can be written, before the work that they are for.

    Args:
        targets: by option, the file that it names, if any.
        sources: files that are read, which no output may replace.

    Raises:
        InputError: a target is there and no file, is read, or is named by two options.
    """
    read = {Path(source).resolve() for source in sources}
    options: dict[Path, str] = {}
    for option, name in targets.items():
        if name is None:
            continue
        require_writable(Path(name))
        file = Path(name).resolve()
        if file in read:
            raise InputError(f"{option} names {name}, which is read; name another")
        if file in options:
            raise InputError(f"{options[file]} and {option} both name {name}; name two files")
        options[file] = option


def provenance(metrics: Mapping[str, Any], scored: int, listed: int, what: str) -> list[str]:
    """How many were scored and how, as lines below a table."""
    part = f" of {listed}" if scored != listed else ""
    noun = what.removesuffix("s") if listed == 1 else what
    return [f"{scored}{part} {noun}", f"signature: {metrics['signature']}"]
