"""Pictures and a small backbone that the tests of extraction share."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vlm.data.folders import list_images
from vlm.extract import Extraction
from vlm.formats.image_list import listed
from vlm.models.backbone import FrozenBackbone

IMAGES = 11


def small_backbone(**options) -> FrozenBackbone:
    """A network of timm's own tests, on images that are not square, always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return FrozenBackbone(
            "test_resnet.r160_in1k", pretrained=False, image_size=(96, 64), **options
        )


def write_photos(folder: Path, images: int = IMAGES) -> Path:
    """Pictures of waves, every one of another size."""
    folder.mkdir()
    for number in range(images):
        y, x = np.mgrid[: 53 + number, :71] / 9.0
        waves = np.stack([np.sin(x + number), np.cos(y * 2 - number), np.sin(x * y / 9)], axis=-1)
        pixels = ((waves + 1) * 127).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


def extraction(photos: Path, output: Path, backbone: FrozenBackbone, **options) -> Extraction:
    """Of a folder, in batches of one image, so four images a shard."""
    options = {"batch_size": 1} | options
    return Extraction(listed(list_images(photos), photos), backbone, output, **options)


def content(folder: Path) -> dict[str, bytes]:
    """Every byte below a folder, but the lock's."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
