"""Words that name objects, at their places; what an image shows of them."""

from pathlib import Path

import pytest

from vlm.formats.instances import Instance, Scene
from vlm.metrics.hallucination import Synonyms
from vlm.metrics.nouns import Nouns, SceneObjects

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "moon")
COCO = ("person", "dog", "traffic light", "hot dog", "wine glass", "bus", "toilet", "chair")


def named(categories, text: str) -> list[tuple[tuple[int, ...], str]]:
    return [tuple(row) for row in Nouns(categories, Synonyms.own()).mentions(text.split())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two men by traffic lights", [((1,), "person"), ((3, 4), "traffic light")]),
        ("a Hot dog, a dog.", [((1, 2), "hot dog"), ((4,), "dog")]),
        ("a dog's hot, dog", [((1,), "dog"), ((3,), "dog")]),
        ("buses and puppies", [((0,), "bus"), ((2,), "dog")]),
        ("a seat of a toilet", [((4,), "toilet")]),
        ("a cat on a sofa", []),  # of which this file has none
        ("wine-glass wine glasses", [((1, 2), "wine glass")]),
    ],
)
def test_names_of_coco(text, expected):
    assert named(COCO, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a small dotted ring above two crosses", [((3,), "ring"), ((6,), "cross")]),
        ("stars, moons and hearts", [((0,), "star"), ((1,), "moon"), ((3,), "heart")]),
        ("a person rides a bus", []),  # not the business of this world
        ("a hoop", []),
    ],
)
def test_names_of_another_world(text, expected):
    assert named(SHAPES, text) == expected


def test_every_shape_has_its_name_and_plural():
    for shape in SHAPES:
        plural = f"{shape}es" if shape.endswith("s") else f"{shape}s"
        assert named(SHAPES, f"a {shape} and {plural}") == [((1,), shape), ((3,), shape)]


def test_names_as_files_spell_them():
    assert named(("Traffic_Light", "Sea Horses"), "sea horse at traffic light") == [
        ((0, 1), "sea horses"),
        ((3, 4), "traffic light"),
    ]


def test_a_dog_is_no_hot_dog_where_only_dogs_are_listed():
    assert named(("dog",), "a hot dog and a dog") == [((5,), "dog")]


OUTLINE = [[0, 0, 2, 0, 2, 2, 0, 2]]


def scene(*objects: tuple[str, object, bool]) -> Scene:
    rows = [Instance(*each, entry="annotation 1") for each in objects]
    return Scene(7, "a.jpg", (4, 4), rows, Path("instances.json"))


def test_what_an_image_shows():
    shown = scene(
        ("ring", OUTLINE, False),
        ("star", OUTLINE, False),
        ("star", [[2, 2, 4, 2, 4, 4, 2, 4]], False),
        ("moon", OUTLINE, True),
        ("heart", None, False),
    )
    nouns = Nouns(SHAPES, Synonyms.own())
    words = ["a", "ring", "a", "star", "a", "moon", "a", "heart", "a", "square", "a", "cross"]
    found = SceneObjects(shown, nouns).named(words)
    assert [mention.places for mention in found.mentions] == [(1,), (3,), (5,)]
    told = [(word.text, word.category, word.unique) for word in found.words]
    # A crowd is not one object.
    assert told == [("ring", "ring", True), ("star", "star", False), ("moon", "moon", False)]
    assert [word.mask.cells.sum() for word in found.words] == [4, 8, 4]
    assert (found.absent, found.unmasked) == (2, 1)


def test_a_mask_is_made_once():
    objects = SceneObjects(scene(("ring", OUTLINE, False)), Nouns(SHAPES, Synonyms.own()))
    first, second = objects.named(["ring", "rings"]).words
    assert first.mask is second.mask is objects.named(["ring"]).words[0].mask
