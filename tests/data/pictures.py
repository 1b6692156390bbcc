"""Pictures that the tests of images write."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

HEIGHT, WIDTH = 23, 37
GREY, RGB, PALETTE = 0, 2, 3  # colour types of PNG


def ramp(*shape: int) -> np.ndarray:
    """Bytes that differ from pixel to pixel, and along both axes."""
    return (np.arange(np.prod(shape)) * 7 % 251).astype(np.uint8).reshape(shape)


def quadrants(height: int, width: int) -> Image.Image:
    """Black above, red below; green added on the right: no turn or flip leaves it as it is."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[height // 2 :, :, 0] = 255
    pixels[:, width // 2 :, 1] = 255
    return Image.fromarray(pixels)


def smooth(height: int, width: int) -> np.ndarray:
    """Red grows downwards, green to the right, blue along the diagonal in waves."""
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    waves = 0.5 + 0.5 * np.sin(9 * (x + y))
    return (np.stack([y, x, waves], axis=-1) * 255).astype(np.uint8)


def stored_as(image: Image.Image, orientation: int) -> Image.Image:
    """How a camera held that way stores an upright image (EXIF 2.32, table 8.6)."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    return Image.fromarray(np.ascontiguousarray(turn(np.asarray(image))))


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


def write_png(path: Path, side: tuple[int, int], depth: int, colour: int, row: bytes) -> Path:
    """A PNG of equal rows, written without ever holding it."""
    (height, width), packer = side, zlib.compressobj(1)
    data = b"".join(packer.compress(b"\0" + row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = bytes(level for level in range(256) for _ in range(3))
    chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", data), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in chunks:
            if name != b"PLTE" or colour == PALETTE:
                crc = zlib.crc32(name + body)
                file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", crc))
    return path
