"""The one image geometry: every file that PIL reads becomes an upright RGB tensor."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vlm.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
MAX_SIDE = 20_000
"""Pixels. A side beyond it is refused, so that memory stays under four bytes a pixel of a
20,000 x 20,000 image, 1.6 GB, and what PIL needs to convert it."""

# A JPEG is decoded at the smallest of its built-in scales that leaves this many times the
# pixels asked for: memory stays small and the resize still averages over real pixels.
DRAFT_MARGIN = 2
# Larger images are shrunk by whole factors before anything else touches them.
LARGE_IMAGE_PIXELS = 2**24
_PIL_LIMIT = Lock()


def load_image(path: str | Path, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """An image file as upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid over white; 16-bit, grey, palette
    and CMYK images are converted.

    Args:
        path: of the file.
        at_least: (height, width) that will be used of it; a larger image may come at a
            smaller size that still exceeds this. Full size when not given.

    Raises:
        InputError: if the file is missing, not an image, cut off, or larger than
            ``MAX_SIDE`` pixels a side.
    """
    try:
        with _open(path) as image:
            if at_least is not None:
                image.draft("RGB", (at_least[1] * DRAFT_MARGIN, at_least[0] * DRAFT_MARGIN))
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _shrink(upright, at_least)
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist; check the path") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path} is not an image that can be read; convert or remove it"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"image {path} cannot be read ({error}); restore or remove it") from error


def check_image(path: Path) -> None:
    """Finds out cheaply whether an image can be used: header, size, and its end.

    Only a file whose last bytes are not those of a whole JPEG or PNG is decoded.

    Raises:
        InputError: as :func:`load_image` would.
    """
    try:
        _open(path).close()
        with path.open("rb") as file:
            file.seek(-min(64, path.stat().st_size), 2)
            tail = file.read()
    except OSError:
        tail = b""
    if b"\xff\xd9" not in tail and b"IEND" not in tail:
        load_image(path)


def check_images(paths: Iterable[Path], *, origin: str) -> None:
    """Checks all images of a set before any work begins.

    Args:
        paths: of the images.
        origin: of the list, named in the message.

    Raises:
        InputError: naming every image that cannot be used.
    """
    paths = list(paths)
    with ThreadPoolExecutor(max_workers=8) as pool:
        complaints = [text for text in pool.map(_complaint, paths) if text]
    if complaints:
        raise InputError(
            f"{len(complaints)} of {len(paths)} images of {origin} cannot be used: "
            + " | ".join(complaints)
        )


@dataclass(frozen=True)
class ImageGeometry:
    """How an image is brought to a backbone: resized as a whole, never cropped.

    Both sides are scaled, each by its own factor, so a region's box in [0, 1] of the
    result is its box in [0, 1] of the original image.

    Attributes:
        height: of the result, in pixels.
        width: of the result, in pixels.
        interpolation: PIL's name in lower case, ``bicubic`` or ``bilinear``, say.
    """

    height: int
    width: int
    interpolation: str = "bicubic"

    def __call__(self, image: Image.Image) -> Tensor:
        """An RGB image as ``(3, height, width)`` uint8."""
        resampling = Image.Resampling[self.interpolation.upper()]
        resized = image.resize((self.width, self.height), resampling)
        return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1).contiguous()

    def load(self, path: str | Path) -> Tensor:
        """An image file as ``(3, height, width)`` uint8."""
        return self(load_image(path, at_least=(self.height, self.width)))


def _open(path: str | Path) -> Image.Image:
    """The header alone, held to ``MAX_SIDE``; PIL's own limit counts pixels and is set aside."""
    with _PIL_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(path)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if max(image.size) > MAX_SIDE:
        image.close()
        raise InputError(
            f"image {path} is {image.width}x{image.height} pixels, more than {MAX_SIDE} a side; "
            "scale it down"
        )
    return image


def _complaint(path: Path) -> str | None:
    try:
        check_image(path)
    except InputError as error:
        return str(error)
    return None


def _shrink(image: Image.Image, at_least: tuple[int, int] | None) -> Image.Image:
    """RGB, converted strip by strip where a whole copy of a large image would cost memory."""
    if at_least is None or image.width * image.height <= LARGE_IMAGE_PIXELS:
        return _to_rgb(image)
    factor = max(1, min(image.height // at_least[0], image.width // at_least[1]) // DRAFT_MARGIN)
    reduce: Callable[[Image.Image], Image.Image] = partial(Image.Image.reduce, factor=factor)
    rows = factor * max(1, LARGE_IMAGE_PIXELS // (4 * factor * image.width))
    size = (-(-image.width // factor), -(-image.height // factor))
    result = Image.new("RGB", size)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        result.paste(reduce(_to_rgb(strip)), (0, top // factor))
    return result


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any PIL mode."""
    if image.mode.startswith(("I", "F")):
        return _deep_to_grey(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def _deep_to_grey(image: Image.Image) -> Image.Image:
    """16-bit integers by their upper byte, floating point from [0, 1]."""
    levels = np.asarray(image)
    if np.issubdtype(levels.dtype, np.floating):
        levels = levels * 255
    elif image.mode != "I" or levels.max() > 255:
        levels = levels / 257
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
