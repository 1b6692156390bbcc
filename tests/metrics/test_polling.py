"""Object questions and how their answers are scored, by hand."""

from collections.abc import Hashable

import pytest

from vlm.errors import InputError
from vlm.metrics.polling import (
    STRATEGIES,
    neither_yes_nor_no,
    object_questions,
    reads_as_yes,
    score_yes_no,
)

OBJECTS: dict[Hashable, list[str]] = {
    1: ["dog", "cat", "kite"],
    2: ["dog", "cat", "apple"],
    3: ["dog", "bus", "oven"],
    4: ["kite", "oven"],
    5: ["dog"],
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_half_of_the_objects_are_absent(strategy: str):
    questions = object_questions(OBJECTS, strategy=strategy, each=2, seed=3)
    assert questions == object_questions(OBJECTS, strategy=strategy, each=2, seed=3)
    assert {question.image for question in questions} == {1, 2, 3, 4}
    for question in questions:
        name = question.text.removesuffix(" in the image?").split(" ", 3)[3]
        assert (name in OBJECTS[question.image]) == (question.label == "yes")
        article = "an" if name[0] in "aeiou" else "a"
        assert question.text == f"Is there {article} {name} in the image?"
    labels = [question.label for question in questions]
    assert labels == ["yes", "no"] * 8


def absent(strategy: str, image: Hashable, each: int) -> list[str]:
    questions = object_questions(OBJECTS, strategy=strategy, each=each)
    return [q.text.split()[3] for q in questions if q.image == image and q.label == "no"]


def test_popular_and_adversarial_objects_by_hand():
    assert absent("popular", 4, 2) == ["dog", "cat"]  # in 4 and 2 of the images
    # Beside kite: cat, dog, oven once; beside oven: bus, dog, kite once. The dog is most frequent,
    # and goes to whichever is asked about first.
    assert absent("adversarial", 4, 2) in (["dog", "bus"], ["dog", "cat"])


def test_each_present_object_has_its_own_companion():
    # Beside the fork a knife, beside the ball a bat; the tree is most frequent, beside neither.
    objects = {
        **{1: ["ball", "fork"], 2: ["fork", "knife"], 3: ["ball", "bat"]},
        **{4: ["tree", "car"], 5: ["tree", "bus"], 6: ["tree", "cup"]},
    }
    questions = object_questions(objects, strategy="adversarial", each=2)
    asked = [question.text.split()[3] for question in questions if question.image == 1]
    assert dict(zip(asked[::2], asked[1::2], strict=True)) == {"fork": "knife", "ball": "bat"}


def test_images_with_too_few_objects_are_not_counted():
    objects = {1: ["a", "b"], 2: ["c", "d"], 3: ["e"], 4: ["e"], 5: ["e"]}
    questions = object_questions(objects, strategy="popular", each=2)
    assert {question.image for question in questions} == {1, 2}
    assert not any(" e " in question.text for question in questions)


def test_every_strategy_asks_about_the_same_present_objects():
    asked = [object_questions(OBJECTS, strategy=name, each=1, seed=5) for name in STRATEGIES]
    present = [[q.text for q in questions if q.label == "yes"] for questions in asked]
    assert present[0] == present[1] == present[2]


def test_scores_by_hand():
    labels = {1: "yes", 2: "yes", 3: "yes", 4: "no", 5: "no"}
    answers = {
        1: "Yes.",
        2: "No, there isn't.",
        3: "There is one",
        4: "yes",
        5: "There is not one.",
    }
    scores = score_yes_no(answers, labels)
    assert scores.accuracy == pytest.approx(3 / 5)
    assert scores.precision == scores.recall == scores.f1 == pytest.approx(2 / 3)
    assert scores.yes == pytest.approx(3 / 5)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        *(("no", 0), ("No, there is one", 0), ("it is not. Yes", 0), ("Yes. No doubt.", 1)),
        *(("a nose", 1), ("I can't see it", 1), ("NO", 1), ("no!", 1), ("", 1)),
    ],
)
def test_what_counts_as_no(answer: str, said: int):
    assert score_yes_no({1: answer}, {1: "yes"}).yes == said


def test_answers_that_say_neither_are_counted():
    answers = {1: "maybe", 2: "", 3: "NO", 4: "There isn't", 5: "YES!", 6: "I see. Yes", 7: "no"}
    answers |= {8: "It is not", 9: "eyes", 10: "Yes, no doubt"}
    assert neither_yes_nor_no(answers) == [1, 2, 3, 4, 9]
    assert all(map(reads_as_yes, [answers[key] for key in (1, 2, 3, 4, 9)]))


@pytest.mark.parametrize("name", [None, "", " ", 5])
def test_an_object_without_a_name_is_told(name: object):
    with pytest.raises(InputError, match=r"^image 2 has an object whose name is no text: name"):
        object_questions({1: ["dog"], 2: ["cat", name]}, strategy="random", each=1)  # pyright: ignore


def test_never_yes_has_no_precision():
    scores = score_yes_no({1: "no", 2: "no"}, {1: "yes", 2: "no"})
    assert (scores.precision, scores.recall, scores.f1) == (0, 0, 0)


def test_bad_questions_are_told():
    with pytest.raises(InputError, match="question 2 has no answer"):
        score_yes_no({1: "no"}, {1: "no", 2: "yes"})
    with pytest.raises(InputError, match="question 2 has an answer and no label"):
        score_yes_no({1: "no", 2: "no"}, {1: "no"})
    with pytest.raises(InputError, match="question 1 has a label that is neither yes nor no"):
        score_yes_no({1: "no"}, {1: "maybe"})
    with pytest.raises(InputError, match="there is no question to score"):
        score_yes_no({}, {})
    with pytest.raises(InputError, match="expected one of random, popular, adversarial"):
        object_questions(OBJECTS, strategy="rare")
    with pytest.raises(InputError, match="got 'random', 3 and -1"):
        object_questions(OBJECTS, strategy="random", seed=-1)
    with pytest.raises(InputError, match="no image has 9 objects"):
        object_questions(OBJECTS, strategy="random", each=9)
