"""Questions of the built-in world: right, without doubt, and written as VQA v2.

The right answers are found anew: a question is read, its objects are looked up by what they are
called, and sizes and places are measured on the drawn masks.
"""

import hashlib
import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from vlm.data.world import KINDS, World, ask, draw
from vlm.data.world.facts import VALUES
from vlm.data.world.scene import COLOURS, MATERIALS, SHAPES, Scene
from vlm.files import read_json
from vlm.formats.questions import read_answers, read_questions, read_split

WORLD = World(seed=7)
SCENES = {split: [WORLD.scene(split, n) for n in range(151)] for split in ("train", "test")}
ASKED = {split: ask(scenes) for split, scenes in SCENES.items()}
QUESTIONS = {split: [one for asked in ASKED[split] for one in asked] for split in SCENES}
EVERY_QUESTION = QUESTIONS["train"] + QUESTIONS["test"]

NOUN = r"(\w+ object|\w+)"
FAMILIES = {"color": COLOURS, "pattern": MATERIALS, "shape": SHAPES}
SIDES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
SIDES |= {"over": SIDES["above"], "under": SIDES["below"]}


class Picture:
    """A scene as it is drawn: places and sizes are those of pixels."""

    def __init__(self, scene):
        masks = draw(scene)[1]
        self.values = [set(one.combination) for one in scene.objects]
        self.sizes = masks.sum(axis=(1, 2))
        self.places = [np.argwhere(mask).mean(axis=0)[::-1] for mask in masks]

    def all_called(self, noun):
        words = [re.sub("(?<!s)s$", "", word.replace("crosses", "cross")) for word in noun.split()]
        wanted = {word for word in words if word != "object"} & set(VALUES)
        assert len(wanted) == len(words) - ("object" in words)
        return [n for n, values in enumerate(self.values) if wanted <= values]

    def only(self, noun):
        if noun == "largest object":
            assert sorted(self.sizes)[-1] > 1.4 * sorted(self.sizes)[-2]
            return int(np.argmax(self.sizes))
        (one,) = self.all_called(noun)
        return one

    def larger(self, one, other):
        """Whether one is larger than another, by far; not to be asked if by little."""
        ratio = self.sizes[one] / self.sizes[other]
        assert not 1 / 1.4 < ratio < 1.4
        return ratio > 1

    def on_side(self, side, anchor):
        steps = [np.dot(place - self.places[anchor], SIDES[side]) for place in self.places]
        return [n for n, step in enumerate(steps) if n != anchor and step > 0]


def yes_no(holds):
    return "yes" if holds else "no"


def is_there(picture, noun):
    return yes_no(picture.all_called(noun))


def has_value(picture, noun, value):
    return yes_no(value in picture.values[picture.only(noun)])


def how_many(picture, noun):
    called = picture.values if noun == "objects" else picture.all_called(noun)
    return str(len(called))


def attribute(picture, family, noun):
    (value,) = picture.values[picture.only(noun)] & set(FAMILIES[family])
    return value


def what_is(picture, side, noun):
    (one,) = picture.on_side(side, picture.only(noun))
    (shape,) = picture.values[one] & set(SHAPES)
    return shape


def where_is(picture, noun, other):
    steps = picture.places[picture.only(noun)] - picture.places[picture.only(other)]
    along = {side: np.dot(steps, SIDES[side]) for side in ("left", "right", "above", "below")}
    far, next_to_far = sorted(along.values())[:-3:-1]
    assert far > 2 * next_to_far
    return max(along, key=along.__getitem__)


def is_anything(picture, compared, noun):
    one = picture.only(noun)
    others = [other for other in range(len(picture.sizes)) if other != one]
    return yes_no(any(picture.larger(other, one) == (compared == "bigger") for other in others))


def which_is(picture, compared, noun, other):
    first = picture.larger(picture.only(noun), picture.only(other)) == (compared == "bigger")
    return (noun if first else other).split()[0]


def are_there(picture, compared, noun, other):
    one, two = len(picture.all_called(noun)), len(picture.all_called(other))
    assert one != two
    return yes_no((one > two) == (compared == "more"))


READINGS = {
    r"(?:is there|can you see) an? (.+)": is_there,
    r"are there any (.+)": is_there,
    rf"is the {NOUN} (?:a )?(\w+)": has_value,
    rf"does the {NOUN} look (?:like a )?(\w+)": has_value,
    r"how many (\w+(?: objects)?) (?:are there|can you see|are in the picture)": how_many,
    rf"(?:what|which) (?:is the )?(color|pattern|shape) .*?the {NOUN}(?: have)?": attribute,
    rf"what is (?:to the )?(\w+)(?: of)? the {NOUN}": what_is,
    rf"where is the {NOUN} relative to the {NOUN}": where_is,
    rf"is anything (bigger|smaller) than the {NOUN}": is_anything,
    rf"which is (bigger|smaller), the {NOUN} or the {NOUN}": which_is,
    r"are there (more|fewer) (.+) than (.+)": are_there,
}


def answer(text, picture):
    found = [
        (find, match)
        for reading, find in READINGS.items()
        if (match := re.fullmatch(reading + r"\?", text))
    ]
    assert len(found) == 1, text
    find, match = found[0]
    return find(picture, *match.groups())


# What is asked


@pytest.mark.parametrize("split", SCENES)
def test_answers_are_right_and_beyond_doubt(split):
    for scene, asked in list(zip(SCENES[split], ASKED[split], strict=True))[-60:]:
        picture = Picture(scene)
        for question in asked:
            assert answer(question.text, picture) == question.answer, question.text


def test_each_scene_is_asked_one_question_of_each_kind_that_it_allows():
    for split in SCENES:
        assert all(
            6 <= len({one.kind for one in asked}) == len(asked) <= 8 for asked in ASKED[split]
        )
        kinds = Counter(one.kind for one in QUESTIONS[split])
        assert set(kinds) == set(KINDS)
        assert min(kinds.values()) > 0.8 * 151


def test_types_are_first_words_and_tell_kinds_apart():
    kinds = defaultdict(set)
    for question in EVERY_QUESTION:
        assert question.text.startswith(question.question_type)
        kinds[question.question_type].add(question.kind)
    wordings = [
        (kind, question_type)
        for kind, varieties in KINDS.items()
        for variety in varieties
        for _, question_type in variety.wordings
    ]
    assert {(kind, name) for name, kinds in kinds.items() for kind in kinds} == set(wordings)
    assert all(len(names) == 1 for names in kinds.values())


def test_words_are_few_and_lower_case():
    told = " ".join(one.text for one in EVERY_QUESTION)
    assert re.fullmatch("[a-z ,?]+", told)
    assert len(set(re.findall("[a-z]+", told))) < 80
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", told)


def test_questions_depend_on_the_scenes_alone():
    assert ask([Scene.from_record(one.record) for one in SCENES["test"]]) == ASKED["test"]


# Files


def test_the_world_is_written_as_vqa_v2(tmp_path):
    WORLD.write(tmp_path, {"train": 5, "test": 3})
    ids = []
    for split, count in (("train", 5), ("test", 3)):
        of_images = ask(SCENES[split][:count])
        expected = [one for asked in of_images for one in asked]
        questions = read_questions(tmp_path / f"questions_{split}.json")
        answers = read_answers(tmp_path / f"annotations_{split}.json")
        assert read_split(tmp_path / f"questions_{split}.json") == split
        assert [one.text for one in questions] == [one.text for one in expected]
        assert [one.question_id for one in questions] == [one.question_id for one in answers]
        entries = read_json(tmp_path / f"captions_{split}.json")["images"]
        images = [row["id"] for row in entries]
        names = [{"id": row["id"], "file_name": row["file_name"]} for row in entries]
        assert read_json(tmp_path / f"questions_{split}.json")["images"] == names
        per_image = [len(asked) for asked in of_images]
        assert [one.image_id for one in questions] == list(np.repeat(images, per_image))
        assert [(one.texts, one.answer_type, one.question_type) for one in answers] == [
            (one.answers, one.answer_type, one.question_type) for one in expected
        ]
        rows = read_json(tmp_path / f"annotations_{split}.json")["annotations"]
        assert [row["multiple_choice_answer"] for row in rows] == [one.answer for one in expected]
        assert [one["answer_id"] for one in rows[0]["answers"]] == list(range(1, 11))
        sure = {one["answer_confidence"] for row in rows for one in row["answers"]}
        assert sure <= {"yes", "maybe"}
        ids += [one.question_id for one in questions]
    assert len(set(ids)) == len(ids)


def test_what_was_written_before_there_were_questions_is_the_same_to_the_byte(tmp_path):
    World(seed=3).write(tmp_path, {"val": 3, "test": 2})
    written = {
        split: hashlib.sha256((tmp_path / f"captions_{split}.json").read_bytes()).hexdigest()
        for split in ("val", "test")
    }
    assert written == {  # by the last version that asked no questions; scenes are in these files
        "val": "eeee307cfe2e80cfdf5d25b461423d1c8889319b7566933d561772cb30593126",
        "test": "1061fd3eecfba7c6f408ad5416069ea8d116f5770a33e7769a6d9200b931693e",
    }
