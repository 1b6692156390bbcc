"""A COCO of ten photos, packed as the official one is."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from vlm.data.sets.entries import Source

TRAIN, VAL = (9, 25, 30, 34), (42, 73, 74, 133, 136, 139)
SPLITS = {9: "train", 25: "train", 30: "train", 34: "train", 42: "val", 73: "restval"}
SPLITS |= {74: "test", 133: "test", 136: "restval", 139: "test"}
COUNTS = {"train": 6, "val": 1, "test": 3}


def photo(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (37, 23), (number, 5, 90)).save(stream, "JPEG")
    return stream.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def name_of(number: int) -> str:
    folder = "train2014" if number in TRAIN else "val2014"
    return f"{folder}/COCO_{folder}_{number:012}.jpg"


def karpathy() -> bytes:
    images = [
        {
            "filepath": name_of(number).split("/")[0],
            "filename": name_of(number).split("/")[1],
            "cocoid": number,
            "split": split,
            "sentences": [{"raw": f"A thing {number}."}, {"raw": f"Thing {number}."}],
        }
        for number, split in SPLITS.items()
    ]
    return json.dumps({"images": images}).encode()


def official(numbers: tuple[int, ...]) -> bytes:
    images = [{"id": n, "file_name": name_of(n).split("/")[1]} for n in numbers]
    told = [{"id": n, "image_id": n, "caption": f"Official {n}."} for n in numbers]
    return json.dumps({"images": images, "annotations": told}).encode()


ARCHIVES = {
    "caption_datasets.zip": zipped({"dataset_coco.json": karpathy(), "dataset_b.json": b"{}"}),
    "annotations_trainval2014.zip": zipped(
        {
            "annotations/captions_train2014.json": official(TRAIN),
            "annotations/captions_val2014.json": official(VAL),
            "annotations/instances_train2014.json": b"{}",
            "annotations/instances_val2014.json": b"{}",
            "annotations/person_keypoints_val2014.json": b"{}",
        }
    ),
    "train2014.zip": zipped({name_of(number): photo(number) for number in TRAIN}),
    "val2014.zip": zipped({name_of(number): photo(number) for number in VAL}),
}


def small(source: Source) -> Source:
    """A source of the table with the numbers of our small archive."""
    content = ARCHIVES[source.name]
    photos = {"train2014": len(TRAIN), "val2014": len(VAL)}
    return source._replace(
        urls=("http://127.0.0.1:9/official",),
        size=len(content),
        checksum="sha256:" + hashlib.sha256(content).hexdigest(),
        holds={path: photos.get(path, 0) for path in source.holds},
    )


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder, with its time."""
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }
