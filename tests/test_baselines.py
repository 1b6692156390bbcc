"""Baselines on cases whose answer is known by hand."""

from pathlib import Path

import numpy as np
import pytest

from vlm.baselines import (
    frequent_answers,
    nearest_captions,
    reference_agreement,
    shuffled,
    shuffled_images,
)
from vlm.errors import InputError
from vlm.formats.question_layouts import AskedQuestion
from vlm.formats.question_sets import QuestionSample


@pytest.mark.parametrize("count", [2, 3, 11])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_keeps_all_captions_and_leaves_none_in_place(count: int, seed: int):
    captions = {image: f"caption {image}" for image in range(count)}
    moved = shuffled(captions, seed=seed)
    assert list(moved) == list(captions)
    assert sorted(moved.values()) == sorted(captions.values())
    assert all(moved[image] != captions[image] for image in captions)


def test_one_image_cannot_be_shuffled():
    with pytest.raises(InputError, match="at least 2 images to shuffle, got 1"):
        shuffled({1: "a dog"})


def test_the_consensus_of_the_nearest_wins():
    training = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9]])
    captions = [
        ["a dog runs over green grass", "an old red car"],
        ["a dog runs over green grass quickly"],
        ["the brown dog runs over green grass"],
        ["two people eat pizza at a table"],
        ["two people eat pizza"],
    ]
    queries = np.array([[5.0, 0.5], [0.1, 3.0]])
    found = nearest_captions(queries, training, captions, neighbours=3)
    assert "dog runs over green grass" in found[0]
    assert nearest_captions(queries, training, captions, neighbours=2)[1].startswith("two people")


def test_reference_agreement_is_the_mean_over_left_out_references():
    references = {
        1: ["a red square on grass", "a red square on grass"],
        2: ["a blue ring on sand", "a blue ring on sand"],
    }
    scores = reference_agreement(references)
    assert scores["BLEU-4"] == pytest.approx(1.0)
    assert scores["CIDEr-D"] == pytest.approx(10.0)
    references[2][1] = "nothing of the kind"
    assert reference_agreement(references)["CIDEr-D"] == pytest.approx(5.0)


def test_a_single_reference_agrees_with_nobody():
    with pytest.raises(InputError, match="at least 2 references"):
        reference_agreement({1: ["a"], 2: ["a", "b"]})


def about(image: int, *answers: tuple[str, str]) -> QuestionSample:
    """An image with questions of a type, each with its answer."""
    questions = [
        AskedQuestion(10 * image + place, "is it?", (answer,) * 10, answer, "other", kind)
        for place, (kind, answer) in enumerate(answers)
    ]
    return QuestionSample(image, Path(f"{image}.jpg"), tuple(questions))


def test_the_most_frequent_answer_is_that_of_the_type():
    training = [
        about(1, ("is", "yes"), ("is", "no"), ("what", "dog")),
        about(2, ("is", "no"), ("what", "dog"), ("what", "cat"), ("what", "dog")),
    ]
    asked = [about(3, ("is", ""), ("what", ""), ("how", ""))]
    assert frequent_answers(training, asked) == {30: "no", 31: "dog", 32: "dog"}


@pytest.mark.parametrize("seed", range(5))
def test_every_question_goes_to_another_image(seed: int):
    samples = [about(image, ("is", "yes")) for image in range(7)]
    moved = shuffled_images(samples, seed=seed)
    assert [(s.image_id, s.path) for s in moved] == [(s.image_id, s.path) for s in samples]
    ids = [s.questions[0].question_id for s in moved]
    assert sorted(ids) == [10 * image for image in range(7)]
    assert all(key != 10 * s.image_id for key, s in zip(ids, moved, strict=True))
