"""What can be asked of a scene: every question that its picture answers beyond doubt.

Questions are about the subject and the second object, or count. Clutter is counted, and an object
is only called "the star" where nothing else is a star, but no answer is an attribute of clutter.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, permutations, product
from typing import NamedTuple

from vlm.data.world.captions import WORDINGS
from vlm.data.world.scene import COLOURS, MATERIALS, SHAPES, Scene, SceneObject

FAMILIES = (COLOURS, MATERIALS, SHAPES)  # in the order of a combination
COLOUR, MATERIAL, SHAPE = range(3)
VALUES = tuple(chain(*FAMILIES))
NOUNS = {value: value if value in SHAPES else f"{value} object" for value in VALUES}
PLURALS = {value: "crosses" if value == "cross" else f"{noun}s" for value, noun in NOUNS.items()}
LARGEST = "largest object"  # always the subject, by far
DOUBT = 5.0  # pixels: people do not agree to the pixel where the middle of a moon is
OPPOSITES = {"left": "right", "right": "left", "above": "below", "below": "above"}

# Wordings, and behind each its type: the first words, as VQA v2 tells questions apart. No type
# stands for two kinds of question.
Wordings = tuple[tuple[str, str], ...]
EXISTENCE: Wordings = (
    ("is there {one}?", "is there a"),
    ("are there any {many}?", "are there any"),
    ("can you see {one}?", "can you see a"),
)
PROPERTY: Wordings = (
    ("is the {noun} {value}?", "is the"),
    ("does the {noun} look {alike}?", "does the"),
)
COUNT: Wordings = (
    ("how many {many} are there?", "how many"),
    ("how many {many} can you see?", "how many"),
    ("how many {many} are in the picture?", "how many"),
)
COLOUR_OF: Wordings = (
    ("what color is the {noun}?", "what color is the"),
    ("what is the color of the {noun}?", "what is the color of the"),
    ("which color does the {noun} have?", "which color"),
)
MATERIAL_OF: Wordings = (
    ("what pattern is on the {noun}?", "what pattern is on the"),
    ("what is the pattern of the {noun}?", "what is the pattern of the"),
    ("which pattern does the {noun} have?", "which pattern"),
)
SHAPE_OF: Wordings = (
    ("what shape is the {noun}?", "what shape is the"),
    ("what is the shape of the {noun}?", "what is the shape of the"),
    ("which shape does the {noun} have?", "which shape"),
)
BESIDE: Wordings = (("what is {side} the {noun}?", "what is"),)
SIDE: Wordings = (("where is the {one} relative to the {other}?", "where is the"),)
EXTREME: Wordings = (("is anything {compared} than the {noun}?", "is anything"),)
WHICH: Wordings = (("which is {compared}, the {one} or the {other}?", "which is"),)
MORE: Wordings = (("are there more {one} than {other}?", "are there more"),)
FEWER: Wordings = (("are there fewer {one} than {other}?", "are there fewer"),)


class Sight(NamedTuple):
    """A scene and what can be told apart in it by one word.

    Attributes:
        scene: of two objects or more.
        counts: how many of its objects have a value, one of `VALUES`.
        named: nouns that fit one object alone, be it subject or second object; the family of the
            value that the noun tells, -1 for none; and the object.
    """

    scene: Scene
    counts: Counter[str]
    named: list[tuple[str, int, SceneObject]]


class Fact(NamedTuple):
    """What a question may ask of a scene.

    Attributes:
        answer: in lower case.
        words: that fill the gaps of a wording.
        rival: the only other answer that anybody could give; empty where there are many.
    """

    answer: str
    words: dict[str, str]
    rival: str = ""


Facts = Callable[[Sight], Iterator[Fact]]


class Variety(NamedTuple):
    """One of the ways in which a kind of question is asked.

    Attributes:
        share: of the questions of its kind, where the scene leaves the choice.
        wordings: any of which fits any of the facts.
        facts: all that a scene offers.
    """

    share: float
    wordings: Wordings
    facts: Facts


def sight(scene: Scene) -> Sight:
    """Looks at a scene."""
    counts = Counter(value for one in scene.objects for value in one.combination)
    named = [(LARGEST, -1, scene.objects[0])] + [
        (NOUNS[value], family, one)
        for one in scene.objects[:2]
        for family, value in enumerate(one.combination)
        if counts[value] == 1
    ]
    return Sight(scene, counts, named)


def _yes_no(words: dict[str, str], *, holds: bool) -> Fact:
    return Fact("yes", words, "no") if holds else Fact("no", words, "yes")


def _article(noun: str) -> str:
    return f"an {noun}" if noun.startswith("o") else f"a {noun}"


def _existence(seen: Sight) -> Iterator[Fact]:
    """Whether there is any object of a value."""
    shown = {value for one in seen.scene.objects[:2] for value in one.combination}
    for value in VALUES:
        if value in shown or not seen.counts[value]:
            words = {"one": _article(NOUNS[value]), "many": PLURALS[value]}
            yield _yes_no(words, holds=value in shown)


def _existence_of_both(seen: Sight) -> Iterator[Fact]:
    """Whether there is one of a colour and a shape; if not, then one of the two at most."""
    everywhere = {(one.colour, one.shape) for one in seen.scene.objects}
    shown = {(one.colour, one.shape) for one in seen.scene.objects[:2]}
    for both in product(COLOURS, SHAPES):
        apart = both not in everywhere and any(seen.counts[value] for value in both)
        if both in shown or apart:
            yield _yes_no({"one": _article(" ".join(both))}, holds=both in shown)


def _property(seen: Sight) -> Iterator[Fact]:
    """Whether an object has a value."""
    for noun, family, one in seen.named:
        if family == MATERIAL:
            continue  # four patterns seldom name an object; their questions would be few each
        for other, values in enumerate(FAMILIES):
            for value in values if other != family else ():
                told, alike = (
                    (f"a {value}", f"like a {value}") if other == SHAPE else (value, value)
                )
                words = {"noun": noun, "value": told, "alike": alike}
                yield _yes_no(words, holds=one.combination[other] == value)


def _count(seen: Sight) -> Iterator[Fact]:
    for value in VALUES:
        yield Fact(str(seen.counts[value]), {"many": PLURALS[value]})


def _count_all(seen: Sight) -> Iterator[Fact]:
    yield Fact(str(len(seen.scene.objects)), {"many": "objects"})


def _attribute(asked: int) -> Facts:
    """What value of one family an object has."""

    def facts(seen: Sight) -> Iterator[Fact]:
        for noun, family, one in seen.named:
            if family != asked:
                yield Fact(one.combination[asked], {"noun": noun})

    return facts


def _beside(seen: Sight) -> Iterator[Fact]:
    """Which shape is on a side of an object where nothing else is, however far off."""
    subject, second = seen.scene.objects[:2]
    for noun, family, anchor in seen.named:
        side = seen.scene.relation if anchor is second else OPPOSITES[seen.scene.relation]
        target = subject if anchor is second else second
        others = [one for one in seen.scene.objects if one is not anchor and one is not target]
        if family != MATERIAL and not any(_lies(one, side, anchor) for one in others):
            for wording in WORDINGS[side]:
                yield Fact(target.shape, {"side": wording, "noun": noun})


def _lies(one: SceneObject, side: str, anchor: SceneObject) -> bool:
    """Whether the middle of an object may be said to be on a side of another's, even if barely."""
    right, down = one.x - anchor.x, one.y - anchor.y
    return {"left": -right, "right": right, "above": -down, "below": down}[side] > -DOUBT


def _named_pairs(seen: Sight) -> Iterator[tuple[str, str]]:
    """Values of one family that tell subject and second object from all others."""
    subject, second = seen.scene.objects[:2]
    for pair in zip(subject.combination, second.combination, strict=True):
        if all(seen.counts[value] == 1 for value in pair):
            yield pair


def _side(seen: Sight) -> Iterator[Fact]:
    """On which side of another an object is."""
    relation = seen.scene.relation
    for subject, second in _named_pairs(seen):
        one, other = NOUNS[subject], NOUNS[second]
        yield Fact(relation, {"one": one, "other": other})
        yield Fact(OPPOSITES[relation], {"one": other, "other": one})


def _extreme(seen: Sight) -> Iterator[Fact]:
    """Whether anything is bigger, or smaller, than an object; areas differ by half or more."""
    subject, _, *clutter = seen.scene.objects
    for noun, family, one in seen.named:
        if family >= 0:
            smaller = one is subject or bool(clutter)
            yield _yes_no({"compared": "bigger", "noun": noun}, holds=one is not subject)
            yield _yes_no({"compared": "smaller", "noun": noun}, holds=smaller)


def _which(seen: Sight) -> Iterator[Fact]:
    """Which of two is bigger, or smaller; named in one order, whichever it is."""
    for subject, second in _named_pairs(seen):
        one, other = (NOUNS[value] for value in sorted((subject, second)))
        yield Fact(subject, {"compared": "bigger", "one": one, "other": other}, second)
        yield Fact(second, {"compared": "smaller", "one": one, "other": other}, subject)


def _number(sign: int) -> Facts:
    """Whether of one value there are more (1), or fewer (-1), than of another; never as many."""

    def facts(seen: Sight) -> Iterator[Fact]:
        for one, other in chain(*(permutations(values, 2) for values in FAMILIES)):
            difference = sign * (seen.counts[one] - seen.counts[other])
            if difference:
                yield _yes_no({"one": PLURALS[one], "other": PLURALS[other]}, holds=difference > 0)

    return facts


KINDS: dict[str, tuple[Variety, ...]] = {
    "existence": (
        Variety(0.75, EXISTENCE, _existence),
        Variety(0.25, EXISTENCE[:1], _existence_of_both),
    ),
    "property": (Variety(1.0, PROPERTY, _property),),
    "count": (Variety(0.75, COUNT, _count), Variety(0.25, COUNT, _count_all)),
    "surface": (
        Variety(0.5, COLOUR_OF, _attribute(COLOUR)),
        Variety(0.5, MATERIAL_OF, _attribute(MATERIAL)),
    ),
    "shape": (Variety(1.0, SHAPE_OF, _attribute(SHAPE)),),
    "where": (Variety(0.4, BESIDE, _beside), Variety(0.6, SIDE, _side)),
    "size": (Variety(0.7, EXTREME, _extreme), Variety(0.3, WHICH, _which)),
    "number": (Variety(0.5, MORE, _number(1)), Variety(0.5, FEWER, _number(-1))),
}
