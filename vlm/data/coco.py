"""Caption annotations on disk, COCO JSON or JSON lines, to samples."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vlm.data.images import SUFFIXES
from vlm.errors import InputError
from vlm.files import read_json, read_text


class CaptionSample(NamedTuple):
    """An image with the captions people gave it.

    Attributes:
        image_id: unique in its set, an int in COCO files, a file name elsewhere.
        path: of the image file.
        captions: none for an unlabelled image.
    """

    image_id: int | str
    path: Path
    captions: tuple[str, ...]


def read_captions(file: Path, images: Path) -> list[CaptionSample]:
    """Samples of an annotation file, in the file's own order of images.

    Two formats are told apart by the file's name: COCO captions JSON (``.json``) and JSON
    lines (``.jsonl``), both also gzipped. A line has the form ``{"image": "a.jpg", "captions": ["..."]}``; its
    captions may be missing, and ``"id"`` may name the image.

    Args:
        file: of annotations.
        images: folder that the file's image names are relative to.

    Raises:
        InputError: if the file is missing, cut off, of another kind, or holds doubled
            ids, an empty caption, or a caption for an image it does not list.
    """
    if file.name.removesuffix(".gz").endswith(".jsonl"):
        return _from_lines(file, read_text(file), images)
    return _from_coco(file, read_json(file), images)


def list_images(folder: Path) -> list[CaptionSample]:
    """Every image below a folder, unlabelled, by name; its id is its relative path.

    Raises:
        InputError: if the folder does not exist or holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"image folder {folder} does not exist; check the path")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(
            f"image folder {folder} holds no image; expected {', '.join(sorted(SUFFIXES))}"
        )
    return [CaptionSample(path.relative_to(folder).as_posix(), path, ()) for path in paths]


def to_coco(samples: Iterable[CaptionSample]) -> dict[str, Any]:
    """Samples as a COCO captions tree, the references of a score."""
    images, annotations = [], []
    for sample in samples:
        images.append({"id": sample.image_id, "file_name": sample.path.name})
        for caption in sample.captions:
            row = {"id": len(annotations), "image_id": sample.image_id, "caption": caption}
            annotations.append(row)
    return {"images": images, "annotations": annotations}


def _from_coco(file: Path, tree: Any, images: Path) -> list[CaptionSample]:
    if not isinstance(tree, dict) or "images" not in tree:
        raise InputError(f"{file} is not a COCO captions file: it has no 'images'")
    try:
        names = [(image["id"], image["file_name"]) for image in tree["images"]]
        annotations = tree.get("annotations", [])
        if annotations and "caption" not in annotations[0]:
            kind = "instances" if "category_id" in annotations[0] else "other annotations"
            raise InputError(
                f"{file} holds {kind}, not captions; give the captions file of the same images"
            )
        _refuse_doubles(file, "image", (image_id for image_id, _ in names))
        _refuse_doubles(file, "annotation", (row["id"] for row in annotations if "id" in row))
        captions: dict[int | str, list[str]] = {image_id: [] for image_id, _ in names}
        for row in annotations:
            if row["image_id"] not in captions:
                raise InputError(
                    f"{file} has a caption for image {row['image_id']}, which it does not list; "
                    "add the image or remove the caption"
                )
            captions[row["image_id"]].append(_checked(file, row["image_id"], row["caption"]))
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a COCO captions file: {error!r} is missing or odd"
        ) from error
    return [CaptionSample(key, images / name, tuple(captions[key])) for key, name in names]


def _from_lines(file: Path, text: str, images: Path) -> list[CaptionSample]:
    samples = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, key = row["image"], row.get("id", row["image"])
            captions = row.get("captions", [])
            if not isinstance(captions, list):
                raise TypeError("captions must be a list")
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f'{file}, line {number}: expected {{"image": "a.jpg", "captions": ["..."]}}, '
                f"got {line[:60]!r} ({error})"
            ) from error
        texts = tuple(_checked(file, key, caption) for caption in captions)
        samples.append(CaptionSample(key, images / name, texts))
    _refuse_doubles(file, "image", (sample.image_id for sample in samples))
    return samples


def _checked(file: Path, image_id: int | str, caption: Any) -> str:
    if not isinstance(caption, str) or not caption.strip():
        raise InputError(
            f"{file}: image {image_id} has the caption {caption!r}; expected text, "
            "write one or remove the entry"
        )
    return caption


def _refuse_doubles(file: Path, what: str, ids: Iterable[Hashable]) -> None:
    doubled = [str(key) for key, count in Counter(ids).items() if count > 1]
    if doubled:
        more = f" and {len(doubled) - 5} more" if len(doubled) > 5 else ""
        raise InputError(
            f"{file} lists {what} ids more than once: {', '.join(doubled[:5])}{more}; keep one each"
        )
