"""Captions that people gave to images: COCO captions JSON or JSON lines to samples."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json, read_text
from vlm.formats.ids import Id, is_id, refuse_doubles

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
        samples = _from_lines(file, read_text(file), images)
    else:
        samples = _from_coco(file, read_json(file), images)
    if not samples:
        raise InputError(f"{file} lists no image; give a file with samples")
    return samples


def _from_coco(file: Path, tree: Any, images: Path) -> list[CaptionSample]:
    _refuse_other_kinds(file, tree)
    try:
        # Captions are scored without an image file; whoever looks for it says that it is gone.
        rows = [(_checked_id(image["id"]), image) for image in tree["images"]]
        names = [(key, images / image.get("file_name", str(key))) for key, image in rows]
        annotations = tree.get("annotations", [])
        refuse_doubles(file, "image", (image_id for image_id, _ in names))
        refuse_doubles(file, "annotation", (row["id"] for row in annotations if "id" in row))
        captions: dict[int | str, list[str]] = {image_id: [] for image_id, _ in names}
        for row in annotations:
            if row["image_id"] not in captions:
                raise InputError(
                    f"{file} has a caption for image {row['image_id']}, which it does not list; "
                    "add the image or remove the caption"
                )
            captions[row["image_id"]].append(_checked(file, row["image_id"], row["caption"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is not a whole COCO captions file ({error!r}); {COCO_FORM}"
        ) from error
    return [
        CaptionSample(key, path, tuple(captions[key]), str(image.get("domain") or ""))
        for (key, path), (_, image) in zip(names, rows, strict=True)
    ]


def _refuse_other_kinds(file: Path, tree: Any) -> None:
    """Says what a file is that holds something else than captions."""
    rows = tree.get("annotations", []) if isinstance(tree, dict) else tree
    first = rows[0] if isinstance(rows, list) and rows else {}
    keys = set(first) if isinstance(first, dict) else set()
    if isinstance(tree, list):
        kind = "a list of results" if "image_id" in keys else "a list"
    elif not isinstance(tree, dict):
        kind = "a single value"
    elif "questions" in tree or "question_id" in keys:
        kind = "a VQA file"
    elif "images" not in tree:
        kind = "without 'images'"
    elif keys and "caption" not in keys:
        kind = "an instances file" if "category_id" in keys else "a file of other annotations"
    else:
        return
    raise InputError(f"{file} is {kind}, not a COCO captions file; {COCO_FORM}")


def _from_lines(file: Path, text: str, images: Path) -> list[CaptionSample]:
    samples = []
    # Not splitlines(), which would also split at the line separators that a JSON text may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            row = json.loads(line)
            path, key = images / row["image"], _checked_id(row.get("id", row["image"]))
            captions = row.get("captions", [])
            if not isinstance(captions, list):
                raise TypeError("captions must be a list")
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'{where}: expected {{"image": "a.jpg", "captions": ["..."]}}, '
                f"got {line[:60]!r} ({error}); correct the line"
            ) from error
        texts = tuple(_checked(where, key, caption) for caption in captions)
        samples.append(CaptionSample(key, path, texts, str(row.get("domain") or "")))
    refuse_doubles(file, "image", (sample.image_id for sample in samples))
    return samples


def _checked_id(key: Any) -> Id:
    if not is_id(key):
        raise TypeError(f"{key!r} is no id")
    return key


def _checked(where: Path | str, image_id: int | str, caption: Any) -> str:
    if not isinstance(caption, str) or not _is_unicode(caption):
        raise InputError(
            f"{where}: image {image_id} has the caption {caption!r}; expected text, "
            "write one or remove the entry"
        )
    return caption


def _is_unicode(text: str) -> bool:
    """Whether it has no half of a surrogate pair, which JSON can spell but no file can hold."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)
