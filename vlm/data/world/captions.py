"""Words for scenes: writes five references, and reads out of any caption what it describes."""

import re

import numpy as np

from vlm.data.world.scene import COLOURS, MATERIALS, SHAPES, Combination, Scene, SceneObject

CAPTIONS = 5
USUAL = 0.8  # how often the first of several wordings is chosen

WORDINGS = {
    "circle": ("circle", "disc"),
    "square": ("square", "box"),
    "ring": ("ring", "hoop"),
    "moon": ("moon", "crescent"),
    "cross": ("cross", "plus"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "plain": ("plain", "solid"),
    "purple": ("purple", "violet"),
    "large": ("large", "big"),
    "small": ("small", "little"),
    "left": ("to the left of", "left of"),
    "right": ("to the right of", "right of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "grass": ("on the grass", "on a lawn"),
    "sand": ("on the sand", "on a beach"),
    "sky": ("in the sky", "in the air"),
    "night": ("at night", "in the dark"),
    "wall": ("in front of a brick wall", "before a brick wall"),
    "floor": ("on a wooden floor", "on wooden planks"),
}

# The usual frame holds half of the references, the others share the rest.
FRAMES = (
    "{subject} is {relation} {second} {place}",
    "there is {subject} {relation} {second} {place}",
    "{place} {subject} is {relation} {second}",
    "a picture of {subject} {relation} {second} {place}",
)
FRAME_SHARES = (0.52, 0.16, 0.16, 0.16)


def captions(scene: Scene) -> list[str]:
    """Five references that tell the same in different words.

    Each names the subject first, with its size, then the relation, the second object and the
    background. Usual wordings prevail, so that whoever sees everything and says it in the usual
    way agrees with the references more than they do with each other.
    """
    rng = np.random.default_rng([scene.seed, 1])
    told: dict[str, None] = {}
    while len(told) < CAPTIONS:
        told[_tell(scene, rng)] = None
    return list(told)


def described(caption: str) -> Combination | None:
    """Colour, material and shape of the first object that a caption names.

    Args:
        caption: lower or upper case, with or without punctuation.

    Returns:
        the three as the world calls them, whichever wording was used; None where the caption
        names no shape, or where other than one colour and one material stand before it.
    """
    meanings = [
        _MEANINGS[word] for word in re.findall("[a-z]+", caption.lower()) if word in _MEANINGS
    ]
    shape = next((n for n, meaning in enumerate(meanings) if meaning in SHAPES), None)
    if shape is None:
        return None
    colours = {meaning for meaning in meanings[:shape] if meaning in COLOURS}
    materials = {meaning for meaning in meanings[:shape] if meaning in MATERIALS}
    if len(colours) != 1 or len(materials) != 1:
        return None
    return colours.pop(), materials.pop(), meanings[shape]


def main_object_right(caption: str, scene: Scene) -> bool:
    """Whether the first object of a caption has colour, material and shape of the subject."""
    return described(caption) == scene.objects[0].combination


def _tell(scene: Scene, rng: np.random.Generator) -> str:
    """One caption of a scene."""
    subject, second = scene.objects[:2]
    frame = FRAMES[rng.choice(len(FRAMES), p=FRAME_SHARES)]
    return frame.format(
        subject=f"a {_word(subject.size, rng)} {_name(subject, rng)}",
        relation=_word(scene.relation, rng),
        second=f"a {_name(second, rng)}",
        place=_word(scene.background, rng),
    )


def _name(thing: SceneObject, rng: np.random.Generator) -> str:
    return " ".join(_word(part, rng) for part in (thing.material, thing.colour, thing.shape))


def _word(meaning: str, rng: np.random.Generator) -> str:
    """A wording of the meaning, mostly the usual one."""
    usual, *others = WORDINGS.get(meaning, (meaning,))
    if not others or rng.random() < USUAL:
        return usual
    return others[rng.integers(len(others))]


_MEANINGS = {
    word: meaning
    for meaning in (*COLOURS, *MATERIALS, *SHAPES)
    for word in WORDINGS.get(meaning, (meaning,))
}
