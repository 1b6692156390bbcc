"""The one image geometry: every file that PIL reads becomes an upright RGB tensor."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from vlm.errors import InputError

MAX_SIDE = 20_000
"""Pixels a side, more are refused. Measured at 20,000 x 20,000, loading through a geometry
takes 0.1 GB for a JPEG (1.2 progressive), 0.4 grey or palette, 1.7 in any other mode, 3.2 for a
TIFF that lies on its side; at full size 3.3 GB of RGB, 4.8 where it is turned."""

# A JPEG is decoded at the smallest of its built-in scales that leaves this many times the
# pixels asked for: memory stays small and the resize still averages over real pixels.
DRAFT_MARGIN = 2
# Larger images are converted strip by strip, so that no second copy of them is ever made.
LARGE_IMAGE_PIXELS = 2**24
STRIP_PIXELS = 2**22
COMPLAINTS_SHOWN = 20

# What brings an image upright, by its EXIF orientation; `LYING` ones are on their side.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (5, 6, 7, 8)
_PIL_LIMIT = Lock()


def load_image(path: str | Path, geometry: "ImageGeometry | None" = None) -> Image.Image:
    """An image file as upright 8-bit RGB.

    EXIF orientation is applied; transparency is laid over white; 16-bit, grey, palette
    and CMYK images are converted; of an animation the first frame is taken.

    Args:
        path: of the file.
        geometry: that it is brought to, which takes far less memory for a large image;
            full size when not given.

    Raises:
        InputError: if the file is missing, not an image, cut off, or larger than
            ``MAX_SIDE`` pixels a side.
    """
    try:
        with _open(path) as image:
            rgb = _to_rgb(image) if geometry is None else _resized(image, geometry)
            turn = _TURNS.get(_orientation(image))
            return rgb if turn is None else rgb.transpose(turn)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"image {path} does not exist; check the path") from error
    except UnidentifiedImageError as error:
        wrong = "is not an image that can be read" if Path(path).stat().st_size else "is empty"
        raise InputError(f"image {path} {wrong}; restore, convert or remove it") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"image {path} cannot be read ({reason}); restore or remove it") from error


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels of an image file that can be read, once it is upright."""
    with _open(path) as image:
        width, height = image.size
        # PIL turns the size of a TIFF itself.
        lying = _orientation(image) in LYING and image.format != "TIFF"
        return (width, height) if lying else (height, width)


def check_image(path: Path) -> None:
    """Finds out cheaply whether an image can be used: header, size, and its end.

    Only a file whose last bytes are not those of a whole JPEG or PNG is decoded; damage in
    the middle of such a file shows when it is loaded.

    Raises:
        InputError: as :func:`load_image` would.
    """
    try:
        _open(path).close()
        with path.open("rb") as file:
            file.seek(-min(64, path.stat().st_size), os.SEEK_END)
            tail = file.read()
    except InputError:
        raise
    except Exception:  # load_image says in words what is wrong
        tail = b""
    if b"\xff\xd9" not in tail and b"IEND" not in tail:
        load_image(path, ImageGeometry(1, 1))


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
    refuse(complaints, images=len(paths), origin=origin)


def refuse(complaints: Sequence[str], *, images: int, origin: str) -> None:
    """Tells all that is wrong with a set of images at once.

    Args:
        complaints: a sentence for each image that cannot be used.
        images: how many there are in all.
        origin: of the set, named in the message.

    Raises:
        InputError: if there is any complaint; only the first ``COMPLAINTS_SHOWN`` are spelt out.
    """
    if not complaints:
        return
    unsaid = len(complaints) - COMPLAINTS_SHOWN
    more = [f"and {unsaid} more"] if unsaid > 0 else []
    raise InputError(
        f"{len(complaints)} of {images} images of {origin} cannot be used: "
        + " | ".join([*complaints[:COMPLAINTS_SHOWN], *more])
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
        return _to_tensor(_resample(image, self.height, self.width, self.interpolation))

    def load(self, path: str | Path) -> Tensor:
        """An image file as ``(3, height, width)`` uint8."""
        return _to_tensor(load_image(path, self))


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous()


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


def _orientation(image: Image.Image) -> int:
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def _as_stored(geometry: ImageGeometry, image: Image.Image) -> tuple[int, int]:
    """The (height, width) that an upright geometry has in the file."""
    if _orientation(image) in LYING:
        return geometry.width, geometry.height
    return geometry.height, geometry.width


def _resized(image: Image.Image, geometry: ImageGeometry) -> Image.Image:
    """RGB of the geometry's size, not yet turned upright, without a full copy on the way."""
    height, width = _as_stored(geometry, image)
    draft = image.draft("RGB", (width * DRAFT_MARGIN, height * DRAFT_MARGIN))
    image.load()
    height, width = _as_stored(geometry, image)  # again: a TIFF turns while it loads
    factor = _factor(image, height, width)
    # The last pixel of a shrunk side may be covered in part only; the whole box is resized.
    extent = draft[1] if draft else (0, 0, *image.size)
    box = (0, 0, extent[2] / factor, extent[3] / factor)
    return _resample(_to_rgb(image, factor), height, width, geometry.interpolation, box=box)


def _resample(
    image: Image.Image,
    height: int,
    width: int,
    interpolation: str,
    *,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """RGB brought to a size, by torch where it can: PIL's result to a rounding, 3x as fast."""
    if image.size == (width, height) and box in (None, (0, 0, width, height)):
        return image
    if box not in (None, (0, 0, *image.size)) or interpolation not in ("bicubic", "bilinear"):
        return image.resize((width, height), Image.Resampling[interpolation.upper()], box=box)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0)
    resized = functional.interpolate(pixels, (height, width), mode=interpolation, antialias=True)
    return Image.fromarray(resized[0].permute(1, 2, 0).contiguous().numpy())


def _factor(image: Image.Image, height: int, width: int) -> int:
    """The whole factor that a large image is shrunk by while it is converted."""
    if image.width * image.height <= LARGE_IMAGE_PIXELS:
        return 1
    factor = min(image.height // height, image.width // width) // DRAFT_MARGIN
    return max(1, min(factor, STRIP_PIXELS // image.width))


def _to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """8-bit RGB of an image of any mode, shrunk by a whole factor."""
    image.load()
    white = _white(image)
    if image.width * image.height <= LARGE_IMAGE_PIXELS:
        return _strip_to_rgb(image, white)
    rows = factor * max(1, STRIP_PIXELS // (factor * image.width))
    result = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        result.paste(_strip_to_rgb(strip, white).reduce(factor), (0, top // factor))
    return result


def _white(image: Image.Image) -> float:
    """The level of white; where the mode leaves it open, the brightest pixel tells the scale."""
    if image.mode not in ("I", "F"):
        return 2**16 - 1 if image.mode.startswith("I;16") else 2**8 - 1
    brightest = float(image.getextrema()[1])  # pyright: ignore[reportArgumentType]  one band
    scales = (1.0, 2**8 - 1, 2**16 - 1) if image.mode == "F" else (2**8 - 1, 2**16 - 1)
    return next((scale for scale in scales if brightest <= scale), brightest)


def _strip_to_rgb(image: Image.Image, white: float) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        with np.errstate(invalid="ignore", over="ignore"):  # a float may be inf or nan
            levels = np.nan_to_num(np.asarray(image) * (255 / white))
        return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")
