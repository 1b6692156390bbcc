"""Baselines on cases whose answer is known by hand."""

import numpy as np
import pytest

from vlm.baselines import nearest_captions, reference_agreement, shuffled
from vlm.errors import InputError


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
