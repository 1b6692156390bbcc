"""Captions of the built-in world: five that tell the same, and what a caption describes."""

from dataclasses import replace

import numpy as np
import pytest

from vlm.data.world import SceneObject, World, captions, described, main_object_right
from vlm.data.world.captions import WORDINGS

SCENES = [World(seed=7).scene(split, index) for split in ("val", "test") for index in range(101)]


def test_five_different_captions_name_subject_relation_second_and_background():
    for scene in SCENES:
        told = captions(scene)
        assert len(set(told)) == 5
        subject, second = scene.objects[:2]
        facts = [subject.size, *subject.combination, *second.combination]
        facts += [scene.relation, scene.background]
        for caption in told:
            for fact in facts:
                assert any(wording in caption for wording in WORDINGS.get(fact, (fact,)))


def test_every_reference_describes_the_main_object_right():
    assert all(main_object_right(told, scene) for scene in SCENES for told in captions(scene))


def test_usual_wordings_prevail():
    told = [caption for scene in SCENES for caption in captions(scene)]
    assert (
        0.4 < np.mean([caption.startswith("a ") and " is " in caption for caption in told]) < 0.75
    )
    on_grass = [caption for caption in told if "grass" in caption or "lawn" in caption]
    assert np.mean(["grass" in caption for caption in on_grass]) > 0.6


@pytest.mark.parametrize(
    ("caption", "combination"),
    [
        ("A small spotted Violet hoop is over a plain red box.", ("purple", "dotted", "ring")),
        ("at night a plain white crescent", ("white", "plain", "moon")),
        ("a striped blue is above a dotted red star", None),
        ("a red star", None),
        ("a plain red on the grass", None),
        ("", None),
    ],
)
def test_a_caption_describes_its_first_object(caption, combination):
    assert described(caption) == combination


def test_a_wrong_attribute_of_the_main_object_is_wrong():
    subject = SceneObject("red", "plain", "square", "large", x=20, y=20, radius=9, tilt=0)
    second = SceneObject("blue", "dotted", "star", "tiny", x=20, y=50, radius=5, tilt=0)
    scene = replace(SCENES[0], objects=(subject, second), relation="above")
    assert main_object_right("a large plain red square is above a striped green ring", scene)
    assert not main_object_right("a large plain blue square is above a dotted blue star", scene)
    assert not main_object_right("a large dotted red square is above a dotted blue star", scene)
    assert not main_object_right("a dotted blue star is above a plain red square", scene)
