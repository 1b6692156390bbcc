"""Questions of the built-in world are not to be answered from their words; ten people answer."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from vlm.data.world import World, ask
from vlm.data.world.annotators import ALIKE, ten_answers
from vlm.data.world.facts import Fact
from vlm.data.world.pairs import similar_pairs
from vlm.data.world.scene import COLOURS, MATERIALS, SHAPES
from vlm.metrics.vqa import HumanAnswers, score_answers

WORLD = World(seed=7)
SCENES = {split: [WORLD.scene(split, n) for n in range(600)] for split in ("train", "test")}
ASKED = {split: ask(scenes) for split, scenes in SCENES.items()}
QUESTIONS = {split: [one for asked in ASKED[split] for one in asked] for split in SCENES}
EVERY_QUESTION = QUESTIONS["train"] + QUESTIONS["test"]


# Balance


def human(questions):
    return {
        number: HumanAnswers(one.answers, one.answer_type, one.kind)
        for number, one in enumerate(questions)
    }


def accuracy(questions, guesses):
    return score_answers(dict(enumerate(guesses)), human(questions))


def commonest(questions, key):
    """To each question, the answer that those with the same key have most often."""
    counts = defaultdict(Counter)
    for one in questions:
        counts[key(one)][one.answer] += 1
    return [counts[key(one)].most_common(1)[0][0] for one in questions]


@pytest.mark.parametrize("split", SCENES)
@pytest.mark.parametrize("guess", ["yes", "no"])
def test_always_the_same_earns_half(split, guess):
    questions = [one for one in QUESTIONS[split] if one.answer_type == "yes/no"]
    assert len(questions) > 1500
    assert accuracy(questions, [guess] * len(questions)).overall == pytest.approx(50, abs=3)
    for kind in ("existence", "property", "size", "number"):
        of_kind = [one for one in questions if one.kind == kind]
        right = np.mean([one.answer == guess for one in of_kind])
        assert right == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("split", SCENES)
def test_who_knows_the_best_answer_to_each_text_earns_little(split):
    questions = QUESTIONS[split]
    scores = accuracy(questions, commonest(questions, lambda one: one.text))
    assert scores.overall < 43
    most = {"existence": 54, "property": 55, "size": 60, "number": 55, "count": 42, "where": 42}
    most |= {"surface": 32, "shape": 25}
    assert all(scores.by_question_type[kind] < bound for kind, bound in most.items())
    by_type = accuracy(questions, commonest(questions, lambda one: one.question_type))
    assert by_type.overall < 38


@pytest.mark.parametrize("split", SCENES)
def test_yes_and_no_are_asked_for_alike_of_each_text(split):
    counts = defaultdict(Counter)
    for one in QUESTIONS[split]:
        if one.answer_type == "yes/no":
            counts[one.text][one.answer] += 1
    uneven = [abs(count["yes"] - count["no"]) for count in counts.values()]
    assert max(uneven) <= 2
    assert sum(uneven) < 0.05 * sum(count.total() for count in counts.values())


@pytest.mark.parametrize("split", SCENES)
def test_similar_scenes_are_asked_the_same_and_answer_differently(split):
    pairs = similar_pairs(SCENES[split])
    assert sorted(n for pair in pairs for n in pair) == list(range(600))
    likeness = [alike(*(SCENES[split][n] for n in pair)) for pair in pairs]
    by_chance = [alike(one, two) for one, two in pairwise(SCENES[split])]
    assert np.mean(likeness) > np.mean(by_chance) + 2
    opposite = Counter()
    for pair in pairs:
        one, two = ({q.text: q for q in ASKED[split][n]} for n in pair)
        opposite.update(
            one[text].kind
            for text in set(one) & set(two)
            if {one[text].answer, two[text].answer} == {"yes", "no"}
        )
    assert opposite["existence"] > 0.8 * len(pairs)
    assert opposite["property"] > 0.7 * len(pairs)
    assert opposite["number"] > 0.9 * len(pairs)
    assert opposite["size"] > 0.2 * len(pairs)


def test_a_scene_without_a_partner_is_asked_too():
    assert similar_pairs(SCENES["train"][:1]) == [(0,)]
    assert similar_pairs([]) == []
    assert [len(asked) >= 7 for asked in ask(SCENES["train"][:3])] == [True] * 3
    assert ask([]) == []


def alike(one, two):
    """How many of nine attributes two scenes share."""
    shared = (one.background == two.background) + (one.relation == two.relation)
    for a, b in zip(one.objects[:2], two.objects[:2], strict=True):
        shared += len(set(a.combination) & set(b.combination))
    return shared + (one.objects[0].size == two.objects[0].size)


@pytest.mark.parametrize(
    ("kind", "answers"), [("surface", COLOURS), ("surface", MATERIALS), ("shape", SHAPES)]
)
def test_values_are_asked_for_alike(kind, answers):
    counts = Counter(
        one.answer for one in QUESTIONS["train"] if one.kind == kind and one.answer in answers
    )
    assert set(counts) == set(answers)
    assert max(counts.values()) < 1.5 * min(counts.values())


def test_numbers_from_none_to_four_are_asked_for():
    counts = Counter(one.answer for one in EVERY_QUESTION if one.answer_type == "number")
    assert set(counts) == set("01234")
    assert max(counts.values()) < 0.4 * sum(counts.values())


# People


def test_ten_people_mostly_agree_on_the_right_answer():
    counts = Counter()
    for one in EVERY_QUESTION:
        assert len(one.answers) == 10
        agree = one.answers.count(one.answer)
        assert agree >= 6
        counts[agree] += 1
    assert 0.6 < counts[10] / counts.total() < 0.85
    assert counts[7] + counts[6] < 0.02 * counts.total()


def test_the_right_answer_earns_everything():
    assert accuracy(EVERY_QUESTION, [one.answer for one in EVERY_QUESTION]).overall == 100


def test_who_disagrees_does_so_plausibly():
    words = {"disc", "box", "hoop", "crescent", "plus", "stripy", "spotted", "solid", "violet"}
    others = defaultdict(set)
    for one in EVERY_QUESTION:
        others[one.kind, one.answer] |= set(one.answers) - {one.answer}
        if one.question_type == "which is":
            assert set(one.answers) <= set(re.findall(r"the (\w+)", one.text))
    assert others["existence", "yes"] == {"no"}
    assert others["count", "0"] == {"1"}
    assert others["count", "2"] == {"1", "3"}
    assert others["surface", "purple"] == {"violet", "blue", "pink"}
    assert others["shape", "square"] == {"box", "rectangle"}
    assert others["where", "above"] <= {"over", "top"}
    assert words <= set.union(*others.values())


def test_people_answer_a_question_the_same_way_at_every_call():
    one, two = SCENES["train"][:2]
    fact = Fact("red", {})
    texts = [f"what color is the {shape}?" for shape in SHAPES]
    for text in texts:
        assert ten_answers(text, fact, one) == ten_answers(text, fact, one)
    assert len({ten_answers(text, fact, scene) for text in texts for scene in (one, two)}) > 3


def test_every_answer_has_another_that_somebody_may_give():
    answers = {one.answer for one in EVERY_QUESTION if one.answer_type == "other"}
    assert answers == set(ALIKE)
    assert all(value not in others for value, others in ALIKE.items())
