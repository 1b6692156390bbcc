"""Writes scenes to disk as COCO and VQA v2 do: images, captions, masks, questions, answers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from vlm.data.world.captions import captions
from vlm.data.world.draw import draw
from vlm.data.world.questions import Question, ask
from vlm.data.world.scene import SHAPES, Scene
from vlm.files import write_json, write_lines

CATEGORIES = [{"id": number, "name": name} for number, name in enumerate(SHAPES, start=1)]
JPEG_QUALITY = 95
MOST = 10  # of a kind that an image can have; the last digit of an annotation's id counts them


def write_split(
    folder: Path,
    split: str,
    scenes: Sequence[Scene],
    *,
    first_id: int,
    written: Callable[[], None],
) -> None:
    """Writes ``images/`` and the split's captions, instances, questions and annotations.

    The JSON files come last and whole, so where they are, the images are too.

    Args:
        folder: to write into; what it already has of that split is replaced.
        split: in the names of all files.
        scenes: to draw.
        first_id: image id of the first scene; the others follow.
        written: called after each image.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images, told, instances = [], [], []
    questions, answers = [], []
    for index, (scene, asked) in enumerate(zip(scenes, ask(scenes), strict=True)):
        entry = _image_entry(first_id + index, f"{split}_{index:06d}.jpg", scene)
        pixels, masks = draw(scene)
        _save(Image.fromarray(pixels), folder / "images" / entry["file_name"])
        images.append(entry)
        told += _caption_entries(entry["id"], scene)
        instances += _instance_entries(entry["id"], scene, masks)
        questions += _question_entries(entry["id"], asked)
        answers += _answer_entries(entry["id"], asked)
        written()
    write_json(folder / f"captions_{split}.json", {"images": images, "annotations": told})
    tree = {"images": images, "annotations": instances, "categories": CATEGORIES}
    write_json(folder / f"instances_{split}.json", tree)
    # On one line: ten answers to each question, indented, would take four times as long to write.
    about = {"task_type": "Open-Ended", "data_subtype": split}
    names = [{"id": entry["id"], "file_name": entry["file_name"]} for entry in images]
    tree = {**about, "images": names, "questions": questions}
    write_lines(folder / f"questions_{split}.json", [tree])
    write_lines(folder / f"annotations_{split}.json", [{**about, "annotations": answers}])


def _save(picture: Image.Image, file: Path) -> None:
    """A JPEG without chroma subsampling, which would blur the colours of thin patterns."""
    partial = file.with_suffix(".partial")
    picture.save(partial, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    partial.replace(file)


def _image_entry(image_id: int, name: str, scene: Scene) -> dict[str, Any]:
    """What COCO tells of an image, and the scene that it was drawn from."""
    return {
        "id": image_id,
        "file_name": name,
        "width": scene.width,
        "height": scene.height,
        "unseen": scene.unseen,
        "scene": scene.record,
    }


def _caption_entries(image_id: int, scene: Scene) -> list[dict[str, Any]]:
    return [
        {"id": image_id * MOST + number, "image_id": image_id, "caption": caption}
        for number, caption in enumerate(captions(scene))
    ]


def _instance_entries(
    image_id: int, scene: Scene, masks: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """One annotation an object, in the scene's order; the shapes are the categories."""
    annotations = []
    for number, (thing, mask) in enumerate(zip(scene.objects, masks, strict=True)):
        code = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
        counts = cast("bytes", code["counts"])  # its own annotations say str
        rows, columns = np.nonzero(mask)
        left, top = int(columns.min()), int(rows.min())
        annotation = {
            "id": image_id * MOST + number,
            "image_id": image_id,
            "category_id": SHAPES.index(thing.shape) + 1,
            "segmentation": {"size": code["size"], "counts": counts.decode("ascii")},
            "area": len(rows),
            "bbox": [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1],
            "iscrowd": 0,
        }
        annotations.append(annotation)
    return annotations


def _question_entries(image_id: int, asked: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {"question_id": image_id * MOST + number, "image_id": image_id, "question": question.text}
        for number, question in enumerate(asked)
    ]


def _answer_entries(image_id: int, asked: Sequence[Question]) -> list[dict[str, Any]]:
    return [
        {
            "question_id": image_id * MOST + number,
            "image_id": image_id,
            "question_type": question.question_type,
            "answer_type": question.answer_type,
            "multiple_choice_answer": question.answer,
            "answers": _ten_entries(question),
        }
        for number, question in enumerate(asked)
    ]


def _ten_entries(question: Question) -> list[dict[str, Any]]:
    """Each person's answer; those who dissent are not sure."""
    return [
        {
            "answer_id": person,
            "answer": answer,
            "answer_confidence": "yes" if answer == question.answer else "maybe",
        }
        for person, answer in enumerate(question.answers, start=1)
    ]
