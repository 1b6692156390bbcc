"""Which ids an evaluation scores: all, those of a split, or the part that has both sides."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from vlm.errors import InputError
from vlm.files import read_text
from vlm.formats.ids import Id, as_listed, is_id, shown
from vlm.formats.results import Kind, read_results


class Selection(NamedTuple):
    """What of a result file is scored.

    Attributes:
        split: file of ids to score, one a line or a JSON list; all without one.
        partial: score the ids that both sides have, instead of refusing the others.
    """

    split: str | None = None
    partial: bool = False

    def read(self, results: Path, kind: Kind, listed: Mapping[Id, object]) -> dict[Id, str]:
        """What was written about the ids to score, in the order they are listed in.

        Args:
            results: file of what was written.
            kind: captions or answers.
            listed: the ids that there are references for.

        Raises:
            InputError: if a file cannot be used, or naming the ids that one side lacks.
        """
        written = as_listed(read_results(results, kind), listed)
        wanted = list(listed) if self.split is None else self._ids(Path(self.split), kind, listed)
        if not self.partial:
            part = "score a part with --split or --partial"
            missing = [key for key in wanted if key not in written]
            _refuse(missing, f"{results} lacks {kind.key}", f"add them, or {part}")
            foreign = [key for key in written if key not in listed]
            without = f"{results} has, without references, {kind.key}"
            _refuse([] if self.split else foreign, without, f"remove them, or {part}")
        kept = {key: written[key] for key in wanted if key in written}
        if not kept:
            raise InputError(f"{results} has none of the ids to score; check that the files fit")
        return kept

    def _ids(self, split: Path, kind: Kind, listed: Mapping[Id, object]) -> list[Id]:
        """The ids of the split, as they are listed."""
        ids = as_listed(dict.fromkeys(read_ids(split)), listed)
        foreign = [key for key in ids if key not in listed]
        _refuse(foreign, f"{split} has, without references, {kind.key}", "correct the split")
        return [key for key in listed if key in ids]


def read_ids(file: Path) -> list[Id]:
    """Ids of a file: one a line, or a JSON list.

    Raises:
        InputError: if the file cannot be read or holds something else.
    """
    text = read_text(file)
    try:
        ids: list[Id] = json.loads(text) if text.lstrip().startswith("[") else [*text.split()]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not a whole JSON list ({error}); mend it") from error
    if not ids or not all(is_id(key) for key in ids):
        raise InputError(f"{file} holds no ids; expected one a line, or a JSON list of them")
    return ids


def _refuse(ids: Sequence[Id], problem: str, remedy: str) -> None:
    if ids:
        raise InputError(f"{problem} {shown(ids)}; {remedy}")
