"""Outlines of the world's shapes, all of the same area."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

AREA = 2.0  # of every shape of radius 1: that of a square whose corners lie on the unit circle

Polygon = NDArray[np.float64]


@cache
def outline(shape: str) -> tuple[Polygon, ...]:
    """The outline of a shape and, where it has one, that of its hole.

    Args:
        shape: one of `vlm.data.world.scene.SHAPES`.

    Returns:
        closed polygons ``(points, 2)`` as x y with y down, around the origin; what lies within
        the first but not the second covers `AREA`.
    """
    loops = _OUTLINES[shape]()
    scale = math.sqrt(AREA / (area(loops[0]) - sum(area(hole) for hole in loops[1:])))
    return tuple(scale * loop for loop in loops)


def area(polygon: Polygon) -> float:
    """The area within a polygon ``(points, 2)``, by the shoelace formula."""
    (x, y), (next_x, next_y) = polygon.T, np.roll(polygon, -1, axis=0).T
    return abs(float(np.sum(x * next_y - next_x * y))) / 2


def turned(polygon: Polygon, degrees: float) -> Polygon:
    """A polygon ``(points, 2)`` turned clockwise (y is down) around the origin."""
    angle = math.radians(degrees)
    cosine, sine = math.cos(angle), math.sin(angle)
    return polygon @ np.array([[cosine, sine], [-sine, cosine]])


def _arc(start: float, stop: float, *, points: int, radius: float = 1.0) -> Polygon:
    """Points on a circle, from and to an angle in degrees; 0 is right, 90 below."""
    angles = np.radians(np.linspace(start, stop, points, endpoint=False))
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _circle() -> list[Polygon]:
    return [_arc(0, 360, points=48)]


def _square() -> list[Polygon]:
    return [_arc(45, 405, points=4)]


def _triangle() -> list[Polygon]:
    return [_arc(-90, 270, points=3)]


def _star() -> list[Polygon]:
    tips, dents = _arc(-90, 270, points=5), _arc(-54, 306, points=5, radius=0.5)
    return [np.stack([tips, dents], axis=1).reshape(10, 2)]


def _cross() -> list[Polygon]:
    arm = np.array([(-0.36, -1.0), (0.36, -1.0), (0.36, -0.36)])
    return [np.concatenate([turned(arm, 90 * quarter) for quarter in range(4)])]


def _ring() -> list[Polygon]:
    return [_arc(0, 360, points=48), _arc(0, 360, points=40, radius=0.5)]


def _heart() -> list[Polygon]:
    """The usual parametric curve: x = 16 sin^3 t, y = a sum of four cosines."""
    t = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [_centred(np.stack([16 * np.sin(t) ** 3, -height], axis=1))]


def _moon() -> list[Polygon]:
    """A disc less another one to its right: two arcs that meet in the tips."""
    tip, bend = 50.0, 0.88
    outer = _arc(tip, 360 - tip, points=40)
    x, y = outer[0]
    opening = math.degrees(math.asin(y / bend))
    inner = _arc(180 + opening, 180 - opening, points=30, radius=bend)
    inner[:, 0] += x - inner[0, 0]
    return [_centred(np.concatenate([outer, inner]))]


def _centred(polygon: Polygon) -> Polygon:
    """The polygon with the middle of its bounding box on the origin."""
    return polygon - (polygon.min(axis=0) + polygon.max(axis=0)) / 2


_OUTLINES = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "moon": _moon,
}
