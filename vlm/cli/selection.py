"""Which ids an evaluation scores: all, those of a split, or the part that has both sides."""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_text
from vlm.formats.ids import Id, as_id, as_listed, is_id, shown
from vlm.formats.results import CAPTIONS, LONGEST_NAME, Kind, read_results


class Selection(NamedTuple):
    """What of a result file is scored.

    Attributes:
        split: file of ids to score, as :func:`read_ids` takes it; all without one.
        partial: score the ids that both sides have, instead of refusing the others.
    """

    split: str | None = None
    partial: bool = False

    def read(self, results: Path, kind: Kind, listed: Mapping[Id, object]) -> dict[Id, str]:
        """What was written about the ids to score, in the order they are listed in.

        Args:
            results: file of what was written, or the folder of a run.
            kind: captions or answers.
            listed: the ids that there are references for.

        Raises:
            InputError: if a file cannot be used, or naming the ids that one side lacks.
        """
        written = as_listed(read_results(result_file(results), kind), listed)
        wanted = list(listed) if self.split is None else self._ids(Path(self.split), kind, listed)
        if not self.partial:
            part = ", or score a part with --split or --partial"
            _refuse_missing(results, kind, wanted, written, otherwise=part)
            if self.split is None:
                _refuse_foreign(results, kind, written, listed, otherwise=part)
        elif self.split is None and (foreign := [key for key in written if key not in listed]):
            told = f"{len(foreign)} left out, not in the {_lists(kind)}: {shown(foreign)}"
            print(f"{results}: {told}", file=sys.stderr)
        kept = {key: written[key] for key in wanted if key in written}
        if not kept:
            raise InputError(f"{results} has none of the ids to score; check that the files fit")
        return kept

    def _ids(self, split: Path, kind: Kind, listed: Mapping[Id, object]) -> list[Id]:
        """The ids of the split, as they are listed."""
        ids = as_listed(dict.fromkeys(read_ids(split, kind)), listed)
        _refuse_foreign(split, kind, ids, listed, otherwise=" from the split")
        return [key for key in listed if key in ids]


def read_all(results: Path, kind: Kind, listed: Mapping[Id, object]) -> dict[Id, str]:
    """What was written about each of the listed ids, in their order.

    Raises:
        InputError: if the file cannot be used, or naming the ids that one side lacks.
    """
    written = as_listed(read_results(result_file(results), kind), listed)
    _refuse_missing(results, kind, listed, written, otherwise="")
    _refuse_foreign(results, kind, written, listed, otherwise="")
    return {key: written[key] for key in listed}


def result_file(path: Path) -> Path:
    """The file that holds the results: the path itself, or that of the folder of a run.

    Raises:
        InputError: if it is a folder without one.
    """
    if not path.is_dir():
        return path
    if not (path / "results.json").is_file():
        raise InputError(
            f"folder {path} holds no results.json; give a result file, or the folder of a run "
            "that was validated or tested"
        )
    return path / "results.json"


def read_ids(file: Path, kind: Kind) -> list[Id]:
    """Ids of a file: one a line, a JSON list, or those that a COCO or VQA file is about.

    Args:
        file: of captions or instances, for ids of images; of questions, for theirs.
        kind: whose ids.

    Raises:
        InputError: if the file cannot be read or holds something else.
    """
    text = read_text(file)
    ids: list[Any] = [line.strip() for line in text.split("\n") if line.strip()]
    if text.lstrip().startswith(("[", "{")):
        ids = _of_tree(file, text, kind)
    ids = [as_id(key) for key in ids]
    if not ids or not all(is_id(key) and len(str(key)) <= LONGEST_NAME for key in ids):
        other = "COCO file of the images" if kind is CAPTIONS else "VQA file of the questions"
        raise InputError(
            f"{file} holds no ids; expected one a line, a JSON list of them, or a {other}"
        )
    return ids


def _of_tree(file: Path, text: str, kind: Kind) -> list[Any]:
    """The ids in a JSON file, whatever they are; none where it is of another kind."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is not one whole JSON list; mend it, or give the ids one a line"
        ) from error
    if isinstance(tree, list):
        return tree
    rows, key = ("images", "id") if kind is CAPTIONS else ("questions", kind.key)
    try:
        return [row[key] for row in tree[rows]]
    except (KeyError, TypeError):
        return []


def _refuse_missing(
    results: Path, kind: Kind, ids: Collection[Id], there: Collection[Id], *, otherwise: str
) -> None:
    missing = [key for key in ids if key not in there]
    if missing:
        raise InputError(f"{results} lacks {kind.key} {shown(missing)}; add them{otherwise}")


def _refuse_foreign(
    file: Path, kind: Kind, ids: Collection[Id], listed: Collection[Id], *, otherwise: str
) -> None:
    foreign = [key for key in ids if key not in listed]
    if foreign:
        raise InputError(
            f"{file} has {kind.key} {shown(foreign)}, which the {_lists(kind)} do not list; "
            f"remove them{otherwise}"
        )


def _lists(kind: Kind) -> str:
    """What lists the ids to score."""
    return "references" if kind is CAPTIONS else "questions"
