"""Features as others publish them, for the tests of imports."""

import base64

import numpy as np

WIDTH = 7
SIZE = (23, 37)  # height, width in pixels
BOXES = np.array([[0, 0, 37, 23], [3.7, 2.3, 18.5, 11.5], [37 / 4, 0, 37, 23 / 2]], np.float32)
PARTS = np.array([[0, 0, 1, 1], [0.1, 0.1, 0.5, 0.5], [0.25, 0, 1, 0.5]], np.float32)
"""``BOXES`` in [0, 1] of an image of ``SIZE``."""


def features(seed: int, regions: int = 3, width: int = WIDTH) -> np.ndarray:
    """Regions that differ from image to image."""
    return np.random.default_rng(seed).normal(size=(regions, width)).astype(np.float32)


def packed(array: np.ndarray) -> str:
    """The bytes of an array as base64."""
    return base64.b64encode(array.tobytes()).decode()


def bottom_up_line(key: int | str, found: np.ndarray, boxes: np.ndarray = BOXES) -> str:
    """An image as a line of the bottom-up attention's tables."""
    columns = [key, SIZE[1], SIZE[0], len(found), packed(boxes), packed(found)]
    return "\t".join(map(str, columns)) + "\r\n"
