"""The cached reward equals CIDEr-D with stored document frequencies."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics.cider import DocumentFrequencies, cider_d
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.reward import CiderDReward

CAPTION = st.lists(st.sampled_from(["a", "dog", "runs", "on", "grass", "the"]), max_size=7)
SAMPLE = st.lists(st.sampled_from(["a", "dog", "runs", "on", "zebra", "piano"]), max_size=7)
REFERENCES = st.lists(st.lists(CAPTION, min_size=1, max_size=3), min_size=1, max_size=5)


@settings(deadline=None)
@given(st.data(), REFERENCES, st.booleans())
def test_equals_cider_d(data, references, stored):
    other = [*references, [["a", "dog", "on", "a", "piano"]], [["the"]]]
    frequencies = DocumentFrequencies.from_references(other if stored else references)
    reward = CiderDReward(references, frequencies=frequencies if stored else None)
    count = data.draw(st.integers(1, 7))
    candidates = [data.draw(SAMPLE) for _ in range(count)]
    images = [data.draw(st.integers(0, len(references) - 1)) for _ in range(count)]
    ngrams = count_ngrams(candidates, [references[image] for image in images])
    wanted = cider_d(ngrams, frequencies)
    np.testing.assert_allclose(reward.score(candidates, images), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("end", ["", "_eos"])
def test_equals_the_reference(shared: Path, end: str):
    # cider_df/expected.json: frequencies of 500 images, scores of 300 others, by ruotianluo/cider;
    # "_eos": every sentence ends in the token "0".
    expected = json.loads((shared / "goldens" / "cider_df" / "expected.json").read_text())
    folder = shared / "goldens" / "captions" / "coco_human_loo"
    tokens = json.loads((folder / "expected.json").read_text())["tokenized"]
    last = ["0"] if end else []
    references = {
        image: [[*line.split(), *last] for line in lines] for image, lines in tokens["refs"].items()
    }
    stored = DocumentFrequencies.from_references([references[i] for i in expected["df_from"]])
    images = expected["eval_ids"]
    reward = CiderDReward([references[i] for i in images], frequencies=stored)
    candidates = [[*tokens["cands"][i].split(), *last] for i in images]
    scores = reward.score(candidates, range(len(images)))
    wanted = expected["CIDEr-D" + end]["per_image"]
    np.testing.assert_allclose(scores, [wanted[i] for i in images], rtol=0, atol=1e-12)


def test_several_captions_of_one_image_in_any_order():
    references = [[["a", "dog"], ["the", "dog", "runs"]], [["two", "cats"]], [["a", "bus"]]]
    reward = CiderDReward(references)
    candidates = [["a", "dog"], ["two", "cats"], ["a", "dog", "runs"], ["a", "dog"], []]
    images = [0, 1, 0, 2, 1]
    scores = reward.score(candidates, images)
    alone = [reward.score([c], [i])[0] for c, i in zip(candidates, images, strict=True)]
    np.testing.assert_allclose(scores, alone, rtol=0, atol=1e-12)
    assert scores[1] == pytest.approx(5.0)
    assert scores[4] == 0


def test_words_that_no_reference_has_count_against_a_caption():
    reward = CiderDReward([[["a", "dog"]], [["two", "cats"]]])
    scores = reward.score([["a", "dog"], ["a", "dog", "zebra"]], [0, 0])
    assert 0 < scores[1] < scores[0]


def test_repeated_unknown_ngrams_are_one_ngram():
    references = [[["a", "dog", "runs"]], [["two", "cats"]], [["a", "bus"]]]
    stored = DocumentFrequencies.from_references(references)
    candidates = [["a", "dog", "zebra", "dog", "zebra"], ["a", "dog", "zebra", "dog", "piano"]]
    scores = CiderDReward(references).score(candidates, [0, 0])
    wanted = cider_d(count_ngrams(candidates, [references[0]] * 2), stored)
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-12)
    assert scores[0] != pytest.approx(scores[1])


def test_counts_beyond_eight_bits_stay_exact():
    references = [[["a"] * 251, ["a"] * 257], [["b"] * 5]]
    stored = DocumentFrequencies.from_references(references)
    candidates = [["a"] * 263, ["b"] * 7]
    scores = CiderDReward(references).score(candidates, [0, 1])
    wanted = cider_d(count_ngrams(candidates, references), stored)
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-12)
    assert min(scores) > 0


def test_a_call_is_equal_however_many_images_were_counted():
    few = [[["a", "dog"], ["the", "dog", "runs"]], [["two", "cats"]]]
    stored = DocumentFrequencies.from_references([*few, [["a", "bus"]]])
    many = [[[f"word{i}", "dog", "runs"]] * 3 for i in range(997)] + few
    candidates = [["a", "dog", "runs"], ["two", "dog", "runs"]]
    alone = CiderDReward(few, frequencies=stored).score(candidates, [0, 1])
    among = CiderDReward(many, frequencies=stored).score(candidates, [997, 998])
    np.testing.assert_allclose(among, alone, rtol=0, atol=1e-12)
    assert min(alone) > 0


def test_no_candidate_has_no_score():
    assert CiderDReward([[["a", "dog"]]]).score([], []).shape == (0,)


def test_strange_images_are_named_five_at_most():
    reward = CiderDReward([[["a"]], [["two", "cats"]]])
    with pytest.raises(InputError, match=r"^expected images from 0 to 1, got -1, 2: give"):
        reward.score([["a"]] * 3, [-1, 0, 2])
    with pytest.raises(InputError, match="got 2, 3, 4, 5, 6 and 2 more: give"):
        reward.score([["a"]] * 7, range(2, 9))
    with pytest.raises(InputError, match=r"got 0\.5: give"):
        reward.score([["a"]], [0.5])  # pyright: ignore


def test_every_candidate_needs_an_image():
    with pytest.raises(InputError, match="the image of each of 1 candidates, got 2 indices"):
        CiderDReward([[["a"]], [["b"]]]).score([["a"]], [0, 1])


def test_strings_in_place_of_words_are_refused():
    with pytest.raises(InputError, match="expected candidates as words, got 'a dog': split"):
        CiderDReward([[["a", "dog"]]]).score(["a dog"], [0])
    with pytest.raises(InputError, match="images 1 have strings for references: split"):
        CiderDReward([[["a"]], ["a dog"]])


def test_references_that_are_missing_are_refused():
    with pytest.raises(InputError, match="the references hold no image"):
        CiderDReward([])
    with pytest.raises(InputError, match="images 1, 2 have no reference"):
        CiderDReward([[["a"]], [], []])
