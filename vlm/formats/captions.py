"""Captions that people gave to images: COCO captions JSON or JSON lines to samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_lines
from vlm.formats.fields import brief, is_text, records
from vlm.formats.ids import Id, as_id, as_listed, refuse_doubles, shown
from vlm.formats.kinds import CAPTIONS, require_kind

COCO_FORM = "expected 'images' with id and file_name, 'annotations' with image_id and caption"


class CaptionSample(NamedTuple):
    """An image with the captions people gave it.

    Attributes:
        image_id: unique in its set, an int in COCO files, a file name elsewhere.
        path: of the image file.
        captions: none for an unlabelled image.
        domain: of the image where the file names one, as that of nocaps does; else empty.
    """

    image_id: int | str
    path: Path
    captions: tuple[str, ...]
    domain: str = ""


def read_captions(file: Path, images: Path) -> list[CaptionSample]:
    """Samples of an annotation file, in the file's own order of images.

    Two formats are told apart by the file's name: COCO captions JSON (``.json``) and JSON
    lines (``.jsonl``), both also gzipped. A line has the form
    ``{"image": "a.jpg", "captions": ["..."]}``; its captions may be missing, and ``"id"``
    may name the image.

    Args:
        file: of annotations.
        images: folder that the file's image names are relative to.

    Raises:
        InputError: if the file is missing, cut off, of another kind, lists no image, or holds
            doubled ids, a caption that is no text, or one for an image it does not list.
    """
    if file.name.removesuffix(".gz").endswith(".jsonl"):
        samples = list(_from_lines(file, images))
        refuse_doubles(file, "image", (sample.image_id for sample in samples))
    else:
        samples = _from_coco(file, read_json(file, by_name=True), images)
    if not samples:
        raise InputError(f"{file} lists no image; give a file with samples")
    return samples


def _from_coco(file: Path, tree: Any, folder: Path) -> list[CaptionSample]:
    require_kind(file, tree, CAPTIONS, name="annotations", sign="caption", form=COCO_FORM)
    images = records(file, tree, "images", form=COCO_FORM)
    keys = images.ids("id")
    refuse_doubles(file, "image", keys)
    # Captions are scored without an image file; whoever looks for it says that it is gone.
    pairs = zip(keys, images.rows, strict=True)
    names = [image.get("file_name", str(key)) for key, image in pairs]
    names = images.checked_texts("file_name", names)
    captions = _captions(file, tree, keys) if "annotations" in tree else {}
    return [
        CaptionSample(
            key, folder / name, tuple(captions.get(key, ())), str(image.get("domain") or "")
        )
        for key, name, image in zip(keys, names, images.rows, strict=True)
    ]


def _captions(file: Path, tree: Any, keys: list[Id]) -> dict[Id, list[str]]:
    """The captions of each image, in the file's order."""
    annotations = records(file, tree, "annotations", form=COCO_FORM)
    about, texts = annotations.ids("image_id"), annotations.texts("caption")
    numbers = (as_id(row.get("id")) for row in annotations.rows)
    refuse_doubles(file, "annotation", (number for number in numbers if number is not None))
    captions: dict[Id, list[str]] = {key: [] for key in keys}
    absent = [key for key in dict.fromkeys(about) if key not in captions]
    if absent:  # perhaps only in another spelling, "42" for 42
        listed = as_listed({key: key for key in dict.fromkeys(about)}, keys)
        spelled = {given: key for key, given in listed.items()}
        about = [spelled[key] for key in about]
        absent = [key for key in dict.fromkeys(about) if key not in captions]
    if absent:
        raise InputError(
            f"{file} has captions for image {shown(absent)}, which it does not list; "
            "add the image or remove the captions"
        )
    for key, text in zip(about, texts, strict=True):
        captions[key].append(text)
    return captions


def _from_lines(file: Path, folder: Path) -> Iterator[CaptionSample]:
    for number, row in read_lines(file, by_name=True):
        fault = _fault(row)
        if fault:
            raise InputError(
                f'{file}, line {number}: expected {{"image": "a.jpg", "captions": ["..."]}}, '
                f"got {fault}; correct the line"
            )
        key = as_id(row.get("id", row["image"]))
        assert key is not None
        captions = tuple(row.get("captions", ()))
        yield CaptionSample(key, folder / row["image"], captions, str(row.get("domain") or ""))


def _fault(row: Any) -> str:
    """What a line has instead of an image with captions; empty if it has one."""
    if not isinstance(row, dict):
        return brief(row)
    if "image" not in row:
        return "an object without 'image'"
    if not is_text(row["image"]) or not row["image"]:
        return f"{brief(row['image'])} as 'image'"
    if as_id(row.get("id", row["image"])) is None:
        return f"{brief(row['id'])} as 'id'"
    captions = row.get("captions", [])
    if not isinstance(captions, list):
        return f"{brief(captions)} as 'captions'"
    return next((f"{brief(text)} as a caption" for text in captions if not is_text(text)), "")
