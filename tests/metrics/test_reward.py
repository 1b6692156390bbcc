"""The cached reward equals CIDEr-D with stored document frequencies."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
