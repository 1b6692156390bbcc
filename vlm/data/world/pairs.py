"""Pairs of similar scenes, which can be asked the same and answer differently."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlm.data.world.scene import Scene

WITHIN = 1000  # scenes in a row that partners are looked for in; time and memory grow with it


def similar_pairs(scenes: Sequence[Scene]) -> list[tuple[int, ...]]:
    """Gives each scene a partner that it shares many attributes with, but no main object.

    Each scene in turn gets the most similar one that is still free, among a thousand in a row.
    Objects of one colour, material and shape do not count as similar: there would be nothing to
    ask that one scene answers otherwise than the other.

    Args:
        scenes: each of two objects or more.

    Returns:
        the places of both scenes of each pair; one alone if their number is odd.
    """
    numbers: dict[str, int] = {}
    codes = np.array(
        [[numbers.setdefault(value, len(numbers)) for value in _values(one)] for one in scenes]
    )
    pairs = []
    for start in range(0, len(scenes), WITHIN):
        likeness = _likeness(codes[start : start + WITHIN])
        free = np.ones(len(likeness), dtype=bool)
        for one in range(len(likeness)):
            if free[one]:
                free[one] = False
                other = int(np.where(free, likeness[one], -1).argmax())
                pairs.append((start + one, start + other)[: 1 + int(free[other])])
                free[other] = False
    return pairs


def _values(scene: Scene) -> tuple[str, ...]:
    """What subject, second object and the whole are: thrice three attributes."""
    subject, second = scene.objects[:2]
    whole = (subject.size, scene.background, scene.relation)
    return (*subject.combination, *second.combination, *whole)


def _likeness(codes: NDArray[np.int_]) -> NDArray[np.int_]:
    """How many of nine attributes ``(scenes, 9)`` any two scenes share ``(scenes, scenes)``."""
    shared = (codes[:, None] == codes).reshape(len(codes), len(codes), 3, 3).sum(axis=-1)
    shared[..., :2] %= 3  # a whole object counts as nothing
    return shared.sum(axis=-1)
