"""Masks of objects: polygons and run lengths of COCO instances as pixels of a part of the image."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from vlm.errors import InputError
from vlm.formats.instances import Instance, Scene


class Mask(NamedTuple):
    """Where an object is; outside of the extent it is not.

    Attributes:
        cells: ``(rows, columns)`` bool, at least one of them True.
        extent: ``(4,)`` x0 y0 x1 y1 in [0, 1] of the image, which the cells part evenly. A box is
            a mask of one cell.
    """

    cells: NDArray[np.bool_]
    extent: NDArray[np.float64]

    @property
    def share(self) -> float:
        """Of the image, in (0, 1], that it covers."""
        x0, y0, x1, y1 = self.extent
        return float(self.cells.mean() * (x1 - x0) * (y1 - y0))

    @classmethod
    def of_pixels(cls, pixels: NDArray) -> "Mask | None":
        """The mask of a whole image's ``(height, width)`` pixels; None if none of them is set."""
        rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return None
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        height, width = pixels.shape
        extent = np.array([left / width, top / height, right / width, bottom / height])
        return cls(pixels[top:bottom, left:right].astype(bool), extent)


def union_mask(scene: Scene, objects: Sequence[Instance]) -> Mask | None:
    """Where any of some objects is; None if one of them has no outline, or all have no pixel.

    Args:
        scene: their image.
        objects: at least one of them.

    Raises:
        InputError: if an outline is none, or of another image's size.
    """
    if any(instance.segmentation is None for instance in objects):
        return None
    runs = [run for instance in objects for run in _runs(scene, instance)]
    return Mask.of_pixels(_decoded(rle.merge(runs)))


def _decoded(run: Any) -> NDArray[np.uint8]:
    """``(height, width)`` pixels of compressed run lengths."""
    with warnings.catch_warnings():
        # pycocotools 2.0.11 makes its array in a way that numpy 2 warns of.
        warnings.simplefilter("ignore", DeprecationWarning)
        return rle.decode(run)


def _runs(scene: Scene, instance: Instance) -> list[Any]:
    """An outline as compressed run lengths, one a polygon."""
    outline, size = instance.segmentation, list(scene.size)
    problem = _problem(outline, size)
    if not problem:
        try:
            if isinstance(outline, list):
                return rle.frPyObjects(outline, *scene.size)
            counts = outline["counts"]
            if isinstance(counts, list):
                return [rle.frPyObjects(outline, *scene.size)]
            run = {"size": size, "counts": counts.encode()}
            _decoded(run)
        except (ValueError, TypeError, OverflowError) as error:
            problem = f"one that cannot be read ({error})"
        else:
            return [run]
    raise InputError(
        f"{scene.file}: expected polygons or run lengths of {size[0]} x {size[1]} pixels as "
        f"'segmentation' of {instance.entry} of {scene.name}, got {problem}; correct it"
    )


def _problem(outline: Any, size: list[int]) -> str:
    """What is wrong with an outline, as far as its fields tell; empty if nothing is."""
    if isinstance(outline, list):
        whole = all(
            isinstance(polygon, list)
            and len(polygon) >= 6
            and len(polygon) % 2 == 0
            and all(isinstance(value, int | float) and abs(value) < 1e6 for value in polygon)
            for polygon in outline
        )
        return "" if whole else "a list that is not of polygons x, y, x, y, x, y, ..."
    if not isinstance(outline, dict) or "counts" not in outline:
        return "neither a list nor an object with 'size' and 'counts'"
    if outline.get("size") != size:
        return f"the size {outline.get('size')}"
    counts = outline["counts"]
    if isinstance(counts, list):
        whole = all(type(count) is int and count >= 0 for count in counts)
        return "" if whole and sum(counts) == size[0] * size[1] else "counts of other pixels"
    return "" if isinstance(counts, str) else "counts that are no text"
