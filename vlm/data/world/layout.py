"""Places objects so that nobody can doubt which is the subject and where the others are."""

import math
from dataclasses import replace

import numpy as np

from vlm.data.world.scene import (
    BACKGROUNDS,
    RELATIONS,
    SIZES,
    Combination,
    Scene,
    SceneObject,
    combinations,
)

# All lengths in pixels. The smallest subject covers 1.6 times the area of the largest second
# object, which covers 3 times the area of the largest piece of clutter.
HEIGHT, WIDTH, PORTRAIT = 128, 160, 64
RADII = {"large": (26.0, 29.0), "small": (19.0, 21.0), "tiny": (13.5, 15.0)}
CLUTTER_RADIUS = (7.0, 8.0)
REACH = 1.25  # the longest way from centre to outline, in radii, that any shape has
PAIR_GAP = (0.5, 6.0)
CLUTTER_GAP = 16.0
MARGIN = 2.0
DIRECTIONS = {"right": 0.0, "below": 90.0, "left": 180.0, "above": 270.0}  # degrees, y down
SWAY, TILT = 18.0, 12.0


def sample_scene(rng: np.random.Generator, seed: int, *, unseen: bool) -> Scene:
    """A scene of two to four objects; every attribute is independent of every other.

    Args:
        rng: makes all choices.
        seed: of the world; decides which combinations are held out.
        unseen: whether subject and second object are held-out combinations; clutter never is.
    """
    choices = combinations(seed, unseen=unseen)
    relation = _pick(rng, RELATIONS)
    size = _pick(rng, SIZES[:2])
    subject = _sample_object(rng, choices, size, RADII[size])
    second = _sample_object(rng, choices, "tiny", RADII["tiny"])
    objects = _place_pair(rng, subject, second, relation)
    for _ in range(rng.integers(3)):
        clutter = _sample_object(rng, combinations(seed, unseen=False), "tiny", CLUTTER_RADIUS)
        objects += _place_clutter(rng, clutter, objects)
    return Scene(
        objects=objects,
        relation=relation,
        background=_pick(rng, BACKGROUNDS),
        height=HEIGHT,
        width=WIDTH,
        unseen=unseen,
        seed=int(rng.integers(2**31)),
    )


def sample_portrait(rng: np.random.Generator, seed: int, *, unseen: bool) -> Scene:
    """A small square picture of a single object, drawn to the same scale as in scenes.

    Args:
        rng: makes all choices.
        seed: of the world; decides which combinations are held out.
        unseen: whether the object is a held-out combination.
    """
    size = _pick(rng, SIZES)
    sitter = _sample_object(rng, combinations(seed, unseen=unseen), size, RADII[size])
    slack = max(PORTRAIT / 2 - sitter.radius, 8.0)
    x, y = PORTRAIT / 2 + rng.uniform(-slack, slack, size=2)
    return Scene(
        objects=(replace(sitter, x=float(x), y=float(y)),),
        relation="",
        background=_pick(rng, BACKGROUNDS),
        height=PORTRAIT,
        width=PORTRAIT,
        unseen=unseen,
        seed=int(rng.integers(2**31)),
    )


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]


def _sample_object(
    rng: np.random.Generator, choices: list[Combination], size: str, radii: tuple[float, float]
) -> SceneObject:
    """An object that has no place yet."""
    colour, material, shape = choices[rng.integers(len(choices))]
    radius, tilt = float(rng.uniform(*radii)), float(rng.uniform(-TILT, TILT))
    return SceneObject(colour, material, shape, size, x=0.0, y=0.0, radius=radius, tilt=tilt)


def _place_pair(
    rng: np.random.Generator, subject: SceneObject, second: SceneObject, relation: str
) -> tuple[SceneObject, ...]:
    """Both objects side by side in the given relation, anywhere within the picture."""
    angle = math.radians(DIRECTIONS[relation] + rng.uniform(-SWAY, SWAY))
    distance = REACH * (subject.radius + second.radius) + rng.uniform(*PAIR_GAP)
    ahead = np.array([math.cos(angle), math.sin(angle)]) * distance
    centres = np.stack([ahead, np.zeros(2)])
    reach = REACH * np.array([[subject.radius], [second.radius]]) + MARGIN
    lowest = -(centres - reach).min(axis=0)
    highest = np.array([WIDTH, HEIGHT]) - (centres + reach).max(axis=0)
    centres += rng.uniform(lowest, highest)
    return tuple(
        replace(one, x=float(x), y=float(y))
        for one, (x, y) in zip((subject, second), centres, strict=True)
    )


def _place_clutter(
    rng: np.random.Generator, clutter: SceneObject, others: tuple[SceneObject, ...]
) -> tuple[SceneObject, ...]:
    """The clutter where it is clear of all others, or nothing where no room was found."""
    border = REACH * clutter.radius + MARGIN
    for x, y in rng.uniform([border] * 2, [WIDTH - border, HEIGHT - border], size=(20, 2)):
        gaps = [
            math.hypot(x - other.x, y - other.y) - REACH * (clutter.radius + other.radius)
            for other in others
        ]
        if gaps[0] > CLUTTER_GAP and min(gaps) > 0:
            return (replace(clutter, x=float(x), y=float(y)),)
    return ()
