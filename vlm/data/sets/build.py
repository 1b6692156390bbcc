"""What training reads, made of the files of a data set, checked, and not made twice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vlm.data.sets.entries import CaptionFiles, DataSet, QuestionFiles, Source
from vlm.data.sets.splits import (
    Splits,
    captions_tree,
    check_id_lists,
    check_splits,
    read_id_lists,
    read_karpathy,
    read_texts,
)
from vlm.errors import InputError
from vlm.files import file_hash, read_json, write_json
from vlm.formats.captions import read_captions
from vlm.formats.ids import shown
from vlm.formats.questions import read_answers, read_questions

RECORD = "prepared.json"

Counts = dict[str, int]
"""What a file holds, by the name of what is counted."""


def build(
    entry: DataSet, output: Path, *, given: Sequence[Path], photos: bool
) -> tuple[dict[str, Counts], bool]:
    """Writes the splits of a data set, or checks its questions, unless that was done before.

    Args:
        entry: of the table.
        output: folder of the data set, with all that it is made of.
        given: the user's own splits, see :func:`origins`.
        photos: whether every image's file must be there.

    Returns:
        what each file holds, and whether anything was written.

    Raises:
        InputError: if a number or the splits are not as they must be, a photo is missing, or a
            file is there that this command did not write.
    """
    before = read_json(output / RECORD) if (output / RECORD).is_file() else {}
    stamps = {file.name: file_hash(file) for file in origins(entry, output, given)}
    done = before.get("files", {}) if before.get("origins") == stamps else {}
    made = _untouched(output, done)
    if made and photos <= before["photos"]:
        return {name: row["holds"] for name, row in done.items()}, False
    splits = _splits(entry, output, given)
    if photos:
        _check_photos(splits, output / "images")
    if not made:
        done = _write(entry, output, splits, before.get("files", {}))
    content = {"set": entry.title, "photos": photos, "origins": stamps, "files": done}
    write_json(output / RECORD, content)
    return {name: row["holds"] for name, row in done.items()}, True


def origins(entry: DataSet, output: Path, given: Sequence[Path]) -> list[Path]:
    """The files that splits and questions are made of.

    Args:
        entry: of the table.
        output: folder of the data set.
        given: none for the official splits, one JSON file in Karpathy's form, or lists of ids.
    """
    if _are_lists(given):
        return [*given, *(output / text for text in entry.texts)]
    if given:
        return list(given)
    questions = [name for row in entry.questions for name in row[:2] if name]
    names = [entry.splits or "", *(row.file for row in entry.captions), *questions]
    return [output / name for name in names if name]


def check_given(entry: DataSet, given: Sequence[Path]) -> None:
    """Holds the user's own splits against the table, before anything is fetched.

    Args:
        entry: of the table.
        given: see :func:`origins`.

    Raises:
        InputError: if they are not those of this data set.
    """
    if _are_lists(given):
        check_id_lists(given, entry.counts)
    elif len(given) > 1:
        raise InputError(f"expected one JSON file of splits, got {len(given)}; give the one to use")
    elif given:
        check_splits(read_karpathy(given[0], entry.folder), entry.counts, given[0].name)


def needed(entry: DataSet, given: Sequence[Path], part: str | None) -> list[Source]:
    """The sources that a run asks for.

    Args:
        entry: of the table.
        given: the user's own splits, in place of which the official ones stay unfetched.
        part: ``captions`` or ``images`` for that part alone, None for both.
    """
    spared = entry.splits if given else None
    if _are_lists(given) and spared in entry.texts:
        spared = None
    return [
        source
        for source in entry.sources
        if (part is None or source.is_photos == (part == "images"))
        and [f"{source.into}/{path}" for path in source.holds] != [spared]
    ]


def _are_lists(given: Sequence[Path]) -> bool:
    return bool(given) and any(file.suffix != ".json" for file in given)


def _untouched(output: Path, files: Mapping[str, Any]) -> bool:
    """Whether all files are there as they were written."""
    return bool(files) and all(
        (output / name).is_file() and file_hash(output / name) == row["hash"]
        for name, row in files.items()
    )


def _refuse_foreign(splits: Splits, output: Path, ours: Mapping[str, Any]) -> None:
    """Holds that no file is written over that somebody else wrote, or changed."""
    for name in splits:
        file = output / f"{name}.json"
        row = ours.get(file.name)
        written = row is not None and (row["hash"] is None or file_hash(file) == row["hash"])
        if file.exists() and not written:
            raise InputError(
                f"{file} is there and not as vlm prepare wrote it; move it away, or give another "
                "--output"
            )


def _write(
    entry: DataSet, output: Path, splits: Splits, ours: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Writes the files of the splits; their hashes and what they and the questions hold."""
    _refuse_foreign(splits, output, ours)
    # Who finds these files after a crash knows by the record that they are no one else's.
    started = {f"{name}.json": {"hash": None, "holds": {}} for name in splits}
    write_json(output / RECORD, {"set": entry.title, "photos": False, "files": started})
    held: dict[str, Counts] = {}
    for name, samples in splits.items():
        write_json(output / f"{name}.json", captions_tree(samples, f"{entry.title}: {name}"))
        captions = sum(len(sample.captions) for sample in samples)
        held[f"{name}.json"] = {"images": len(samples), "captions": captions}
    held |= _check_questions(entry.questions, output)
    return {name: {"hash": file_hash(output / name), "holds": held[name]} for name in held}


def _splits(entry: DataSet, output: Path, given: Sequence[Path]) -> Splits:
    """The images of each split, checked."""
    if entry.captions:
        return {row.split: _read_split(row, output) for row in entry.captions}
    if entry.splits is None:
        return {}
    if _are_lists(given):
        texts = (read_texts(output / text, entry.folder) for text in entry.texts)
        splits = read_id_lists(given, (sample for text in texts for sample in text))
        origin = ", ".join(file.name for file in given)
    else:
        file = given[0] if given else output / entry.splits
        splits, origin = read_karpathy(file, entry.folder), file.name
    check_splits(splits, entry.counts, origin)
    return {name: splits[name] for name in entry.counts}


def _read_split(row: CaptionFiles, output: Path) -> list[Any]:
    samples = read_captions(output / row.file, Path(row.folder))
    found = (len(samples), sum(len(sample.captions) for sample in samples))
    if found != (row.images, row.captions):
        raise InputError(
            f"expected {row.images:,} images and {row.captions:,} captions in {row.file}, got "
            f"{found[0]:,} and {found[1]:,}; get the official file"
        )
    return samples


def _check_questions(rows: Sequence[QuestionFiles], output: Path) -> dict[str, Counts]:
    """Holds that questions have their number and each its answers; what the files hold."""
    held: dict[str, Counts] = {}
    for row in rows:
        questions = read_questions(output / row.questions)
        ids = {question.question_id for question in questions}
        if len(ids) != row.number:
            raise InputError(
                f"expected {row.number:,} questions in {row.questions}, got {len(ids):,}; get the "
                "official file"
            )
        images = len({question.image_id for question in questions})
        held[row.questions] = {"questions": len(ids), "images": images}
        if row.annotations is None:
            continue
        answers = read_answers(output / row.annotations)
        unmatched = ids.symmetric_difference(answer.question_id for answer in answers)
        if unmatched:
            raise InputError(
                f"questions {shown(sorted(unmatched, key=str))} are only in one of "
                f"{row.questions} and {row.annotations}; get the official files"
            )
        held[row.annotations] = {"answers": sum(len(answer.texts) for answer in answers)}
    return held


def _check_photos(splits: Splits, images: Path) -> None:
    """Holds that every image has its file."""
    paths = [sample.path for samples in splits.values() for sample in samples]
    there = {
        folder: {path.name for path in (images / folder).glob("*")}
        for folder in {path.parent for path in paths}
    }
    gone = [path.as_posix() for path in paths if path.name not in there[path.parent]]
    if gone:
        raise InputError(
            f"{images} lacks {len(gone):,} images of the splits ({shown(gone)}); get the official "
            "photos"
        )
