"""Scenes of the built-in world: what stands where, as plain data that every reader shares."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
MATERIALS = ("plain", "striped", "dotted", "checkered")
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
SIZES = ("large", "small", "tiny")
BACKGROUNDS = ("grass", "sand", "sky", "night", "wall", "floor")
RELATIONS = ("left", "right", "above", "below")

Combination = tuple[str, str, str]


@dataclass(frozen=True)
class SceneObject:
    """One thing in a scene.

    Attributes:
        colour: one of `COLOURS`.
        material: one of `MATERIALS`.
        shape: one of `SHAPES`.
        size: one of `SIZES`; only subjects are large or small, all others are tiny.
        x: centre, in pixels from the left edge.
        y: centre, in pixels from the top edge.
        radius: in pixels; the object covers ``2 * radius ** 2`` square pixels, whatever its shape.
        tilt: in degrees, clockwise.
    """

    colour: str
    material: str
    shape: str
    size: str
    x: float
    y: float
    radius: float
    tilt: float

    @property
    def combination(self) -> Combination:
        """Colour, material and shape: what is held out from training, or is not."""
        return self.colour, self.material, self.shape


@dataclass(frozen=True)
class Scene:
    """A picture before it is drawn; pixels, masks and captions are functions of it.

    Attributes:
        objects: the subject, the second object (nearest to it), then clutter; largest first.
        relation: where the subject is as seen from the second object, one of `RELATIONS`;
            empty where there is no second object.
        background: one of `BACKGROUNDS`.
        height: in pixels.
        width: in pixels.
        unseen: True where subject and second object are combinations held out from training.
        seed: fixes what is left open: the texture of the background, the wording of captions.
    """

    objects: tuple[SceneObject, ...]
    relation: str
    background: str
    height: int
    width: int
    unseen: bool
    seed: int

    @property
    def record(self) -> dict[str, Any]:
        """The scene as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Scene":
        """The scene that a `record` was made from, also after a journey through JSON."""
        return cls(**{**record, "objects": tuple(SceneObject(**one) for one in record["objects"])})


def combinations(seed: int, *, unseen: bool) -> list[Combination]:
    """All combinations of colour, material and shape that are held out, or all others.

    One in eight is held out: where the indices of the three attributes add up to one residue, as
    in a Latin square. Two attributes leave at most one choice of the third to it, so every pair
    of attributes still occurs in training.

    Args:
        seed: of the world.
        unseen: True for the held-out combinations, False for those of training.
    """
    return [
        (colour, material, shape)
        for (c, colour), (m, material), (s, shape) in product(
            enumerate(COLOURS), enumerate(MATERIALS), enumerate(SHAPES)
        )
        if ((c + m + s - seed) % len(COLOURS) == 0) == unseen
    ]
