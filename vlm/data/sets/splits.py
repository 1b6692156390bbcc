"""Karpathy's splits: from his JSON or from lists of ids, held to their numbers and disjoint."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

from vlm.data.sets.guard import coco_number, shared_ids
from vlm.errors import InputError
from vlm.files import read_json, read_text
from vlm.formats.captions import CaptionSample, read_captions
from vlm.formats.ids import Id, shown

Splits = dict[str, list[CaptionSample]]
"""Images of each split; paths are relative to the folder of images."""

# Karpathy's restval, the rest of COCO's val2014, is trained on; Flickr8k says dev for val.
NAMES = {"train": "train", "restval": "train", "val": "val", "dev": "val", "test": "test"}


def read_karpathy(file: Path, folder: str = "") -> Splits:
    """The splits of ``dataset_coco.json``, ``dataset_flickr8k.json`` or ``dataset_flickr30k.json``.

    Images of COCO keep its ids, others go by their file name.

    Args:
        file: as published by Karpathy & Fei-Fei, "Deep visual-semantic alignments" (CVPR 2015).
        folder: of images whose entry names none.

    Raises:
        InputError: if the file is missing, cut off, of another kind, or has an unknown split.
    """
    tree = read_json(file)
    splits: Splits = {}
    try:
        for row in tree["images"]:
            path = PurePosixPath(row.get("filepath", folder), row["filename"])
            captions = tuple(str(sentence["raw"]) for sentence in row["sentences"])
            sample = CaptionSample(row.get("cocoid", row["filename"]), Path(path), captions)
            splits.setdefault(NAMES[row["split"]], []).append(sample)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is not a file of Karpathy's splits; expected 'images' with filename, "
            f"sentences, each with raw, and split, one of {', '.join(NAMES)}"
        ) from error
    return splits


def read_id_lists(files: Sequence[Path], texts: Iterable[CaptionSample]) -> Splits:
    """The splits that text files list, an image a line.

    Args:
        files: with ``train``, ``restval``, ``val``, ``dev`` or ``test`` in their names. A line
            is an id, a file name, or a path and an id behind it.
        texts: images with captions, those that are listed among them.

    Raises:
        InputError: if a name tells no split, or an image is listed that has no captions.
    """
    known: dict[str, CaptionSample] = {}
    for sample in texts:
        number = coco_number(sample.path.name)
        names = (str(sample.image_id), sample.path.name, "" if number is None else str(number))
        known |= dict.fromkeys(names, sample)
    splits: Splits = {}
    for file in files:
        lines = _rows(file)
        strange = [line[0] for line in lines if _spelled(line) not in known]
        if strange:
            raise InputError(
                f"{file} lists images that have no captions: {shown(strange)}; give the lists of "
                "this data set"
            )
        split = splits.setdefault(_split_of(file), [])
        split += [known[_spelled(line)] for line in lines]
    return splits


def check_id_lists(files: Sequence[Path], counts: Mapping[str, int]) -> None:
    """Holds lists against what is known of a data set before any of it is there.

    Args:
        files: see :func:`read_id_lists`.
        counts: images that each split must have.

    Raises:
        InputError: if a name tells no split, or the lists are too short or too long.
    """
    found = dict.fromkeys(counts, 0)
    for file in files:
        found[_split_of(file)] += len(_rows(file))
    _check_counts(found, counts, ", ".join(file.name for file in files))


def read_texts(file: Path, folder: str) -> list[CaptionSample]:
    """All images of a file with their captions, whatever their split.

    Args:
        file: Karpathy's JSON (``dataset_*.json``), COCO captions JSON, whose photos are in the
            folder that its name ends in, or the token file of Flickr8k.
        folder: of photos, where the file names none.

    Raises:
        InputError: if the file is missing, cut off or of another kind.
    """
    if file.name.startswith("dataset_"):
        return [sample for split in read_karpathy(file, folder).values() for sample in split]
    if file.suffix == ".json":
        return read_captions(file, Path(file.stem.rpartition("_")[2]))
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        name, mark, text = line.partition("\t")
        if line and not mark:
            raise InputError(f"{file}, line {number}: expected NAME#0<tab>CAPTION; correct it")
        captions.setdefault(name.rpartition("#")[0], []).append(text)
    return [CaptionSample(key, Path(folder, key), tuple(captions[key])) for key in captions if key]


def check_splits(splits: Splits, counts: Mapping[str, int], origin: str) -> None:
    """Holds that splits have their numbers of images and none in common.

    Args:
        splits: all of them.
        counts: images that each must have.
        origin: where the splits come from.

    Raises:
        InputError: naming the numbers, or the images.
    """
    _check_counts({name: len(splits.get(name, ())) for name in counts}, counts, origin)
    for name, samples in splits.items():
        if len({sample.image_id for sample in samples}) != len(samples):
            raise InputError(f"{origin} lists images of {name} twice; give the official file")
    for first, second in combinations(counts, 2):
        ids = shared_ids(splits[first], splits[second])
        if ids:
            raise InputError(
                f"expected no image in two splits of {origin}, got {len(ids)} in {first} and "
                f"{second}: {shown(ids)}; give the official file of this data set"
            )


def captions_tree(samples: Iterable[CaptionSample], description: str) -> dict[str, Any]:
    """COCO captions JSON, its file names relative to the folder of images."""
    images: list[dict[str, Id]] = []
    annotations: list[dict[str, Id]] = []
    for sample in samples:
        image: dict[str, Id] = {"id": sample.image_id, "file_name": sample.path.as_posix()}
        images.append(image | ({"domain": sample.domain} if sample.domain else {}))
        for caption in sample.captions:
            row = {"id": len(annotations) + 1, "image_id": sample.image_id, "caption": caption}
            annotations.append(row)
    return {"info": {"description": description}, "images": images, "annotations": annotations}


def _rows(file: Path) -> list[list[str]]:
    """The words of each line of a list."""
    return [line.split() for line in read_text(file).splitlines() if line.strip()]


def _check_counts(found: Mapping[str, int], counts: Mapping[str, int], origin: str) -> None:
    if dict(found) != dict(counts):
        raise InputError(
            f"expected {_told(counts)} images in {origin}, got {_told(found)}; give the official "
            "file of this data set"
        )


def _spelled(line: Sequence[str]) -> str:
    """The image of a line as it may be known: the last word's name or number."""
    name = PurePosixPath(line[-1]).name
    number = int(name) if name.isascii() and name.isdigit() else coco_number(name)
    return name if number is None else str(number)


def _split_of(file: Path) -> str:
    words = re.findall(r"restval|train|val|dev|test", file.name.lower().replace("trainval", ""))
    found = {NAMES[word] for word in words}
    if len(found) != 1:
        raise InputError(
            f"the name of {file} tells no split; expected one of {', '.join(NAMES)} in it"
        )
    return found.pop()


def _told(counts: Mapping[str, int]) -> str:
    return " / ".join(f"{name} {number:,}" for name, number in counts.items())
