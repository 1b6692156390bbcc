"""Maps of several images under several reductions: ceiling, baselines and intervals by hand."""

import numpy as np
import pytest

from vlm.formats.masks import Mask
from vlm.formats.word_maps import WordMaps, reduce_weights, reductions_of_weights
from vlm.metrics.grounding_scores import SCORES, GroundingScores, reduced
from vlm.metrics.nouns import Mention, Word
from vlm.metrics.resampling import mean_intervals

HALVES = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])
WHOLE = np.array([[0, 0, 1, 1]])
LEFT = Mask(np.ones((1, 1), dtype=bool), np.array([0, 0, 0.5, 1]))
RIGHT = Mask(np.ones((1, 1), dtype=bool), np.array([0.5, 0, 1, 1]))


def word(mask: Mask, category: str = "ring", *, unique: bool = True) -> Word:
    return Word(category, category, mask, unique)


def test_two_images_that_look_right():
    scores = GroundingScores(["good", "bad"])
    scores.add("a", HALVES, np.array([[[1.0, 0.0]], [[0.25, 0.75]]]), [word(LEFT)])
    scores.add("b", HALVES, np.array([[[0.0, 1.0]], [[0.75, 0.25]]]), [word(RIGHT)])
    found = scores.record()
    assert list(found) == ["good", "bad"]
    ones = dict(zip(SCORES, [1, 1, 1, 2], strict=True))
    halves = dict(zip(SCORES, [0.5, 0.5, 0.5, 1], strict=True))
    nothing = dict(zip(SCORES, [0, 0, 0, 0], strict=True))
    good = found["good"]
    assert {name: good[name] for name in SCORES} == pytest.approx(ones)
    assert good["ceiling"] == pytest.approx(ones)
    assert good["baselines"]["uniform"] == pytest.approx(halves)
    assert good["baselines"]["centre"] == pytest.approx(halves)
    # Met by the other image's map, which points at the other side.
    assert good["baselines"]["shuffled"] == pytest.approx(nothing)
    assert good["interval"] == [1, 1]
    assert good["over centre"][SCORES[0]] == {"points": 0.5, "interval": [0.5, 0.5]}
    for name in SCORES:
        expected = good[name] - good["baselines"]["centre"][name]
        assert good["over centre"][name]["points"] == pytest.approx(expected)
    assert good["entropy"] == 0
    bad = found["bad"]
    assert [bad[name] for name in SCORES] == pytest.approx([0, 0, 0.25, 0.5])
    shuffled = bad["baselines"]["shuffled"]
    assert [shuffled[name] for name in SCORES] == pytest.approx([1, 1, 0.75, 1.5])
    assert bad["entropy"] == pytest.approx(2 - 0.75 * np.log2(3))
    assert bad["words"] == bad["unique"]["words"] == 2
    assert bad["unique"]["mass in mask"] == pytest.approx(0.25)


def test_words_count_alike_and_unique_ones_beside():
    scores = GroundingScores(["map"])
    left = np.array([1.0, 0.0])
    scores.add(
        1,
        HALVES,
        np.array([[left, left, left]]),
        [word(LEFT, "star", unique=False), word(LEFT, "star", unique=False), word(RIGHT)],
    )
    scores.add(2, HALVES, np.array([[left]]), [word(RIGHT)])
    row = scores.record()["map"]
    assert (row["words"], row[SCORES[0]]) == (4, 0.5)
    assert row["per category"] == {
        "ring": {SCORES[0]: 0, "words": 2},
        "star": {SCORES[0]: 1, "words": 2},
    }
    assert (row["unique"]["words"], row["unique"][SCORES[0]]) == (2, 0)
    assert row["unique"]["per category"] == {"ring": {SCORES[0]: 0, "words": 2}}
    # Image 1 alone: 2 of 3; image 2 alone: 0 of 1.
    assert row["interval"] == pytest.approx([0, 2 / 3])


def test_shuffled_maps_keep_their_own_regions():
    scores = GroundingScores(["map"])
    scores.add("a", HALVES, np.array([[[1.0, 0.0]]]), [word(LEFT)])
    scores.add("b", WHOLE, np.array([[[1.0]]]), [word(RIGHT)])
    shuffled = scores.record()["map"]["baselines"]["shuffled"]
    # The left object in b's region is half of it; the right one is missed by a's map.
    assert shuffled["pointing by region"] == 0.5
    assert shuffled["mass in mask"] == 0.25


def test_texts_of_one_image_are_not_shuffled_among_each_other():
    scores = GroundingScores(["map"])
    left, right = np.array([[[1.0, 0.0]]]), np.array([[[0.0, 1.0]]])
    scores.add("a", HALVES, left, [word(LEFT)])
    scores.add("a", HALVES, left, [word(LEFT)])
    alone = scores.record()["map"]
    assert alone["baselines"]["shuffled"] == dict.fromkeys(SCORES)
    scores.add("b", HALVES, right, [word(LEFT)])
    assert scores.images == 2
    shuffled = scores.record()["map"]["baselines"]["shuffled"]
    assert shuffled["pointing by region"] == pytest.approx(1 / 3)


def test_shuffled_is_the_mean_over_all_others_of_a_few():
    # Three images of one word each: every object is met by the other two maps.
    scores = GroundingScores(["map"])
    for image, mass in enumerate((0.9, 0.6, 0.3)):
        scores.add(image, HALVES, np.array([[[mass, 1 - mass]]]), [word(LEFT)])
    shuffled = scores.record()["map"]["baselines"]["shuffled"]
    assert shuffled["mass in mask"] == pytest.approx(0.6)
    assert shuffled["pointing by region"] == pytest.approx(2 / 3)


def test_nothing_unique_is_none():
    scores = GroundingScores(["map"])
    scores.add(1, HALVES, np.array([[[1.0, 0.0]]]), [word(LEFT, unique=False)])
    unique = scores.record()["map"]["unique"]
    assert unique["words"] == 0
    assert unique["per category"] == {}
    assert unique["interval"] is unique["pointing by region"] is unique["entropy"] is None
    assert unique["ceiling"] == unique["baselines"]["centre"] == dict.fromkeys(SCORES)


def test_all_reductions_at_once_are_each_alone():
    rng = np.random.default_rng(0)
    maps = rng.dirichlet(np.ones(2), size=(3, 2, 2))  # reductions, images, words

    def record(chosen: list[int]) -> dict:
        scores = GroundingScores([f"m{n}" for n in chosen])
        for image in range(2):
            words = [word(LEFT), word(RIGHT, "star", unique=False)]
            scores.add(image, HALVES, maps[chosen, image], words)
        return scores.record()

    together = record([0, 1, 2])
    for n in range(3):
        assert record([n])[f"m{n}"] == together[f"m{n}"]


def test_reductions_of_what_a_text_names():
    rng = np.random.default_rng(1)
    weights = rng.dirichlet(np.ones(5), size=(2, 3, 4)).astype(np.float32)
    own = rng.dirichlet(np.ones(5), size=4).astype(np.float32)
    nan = np.full(4, np.nan, dtype=np.float32)
    boxes = np.tile(np.float32([0, 0, 1, 1]), (5, 1))
    maps = WordMaps(tuple("abcd"), weights, own, "rollout", nan, boxes)
    found = reduced(maps, [Mention((1,), "x"), Mention((2, 3), "y")])
    assert list(found) == ["rollout", *reductions_of_weights(2, 3)]
    for name, rows in found.items():
        whole = own if name == "rollout" else reduce_weights(weights, name)
        expected = np.stack([whole[1], (whole[2] + whole[3]) / 2])
        np.testing.assert_allclose(rows, expected / expected.sum(-1, keepdims=True), atol=1e-6)
    # What a file calls its own reduction is what it holds.
    assert list(reduced(maps._replace(reduction="mean"), [])) == ["mean", "last", *list(found)[3:]]
    bare = maps._replace(weights=np.zeros((0, 0, 4, 5), dtype=np.float32))
    assert list(reduced(bare, [Mention((0,), "x")])) == ["rollout"]


def test_intervals_by_hand():
    # Two images: a resample has the first twice, both, or the second twice.
    sums, counts = np.array([[0.0, 1.0], [3.0, 1.0]]), np.array([1.0, 3.0])
    found = mean_intervals(sums, counts, samples=200, seed=0)
    np.testing.assert_allclose(found, [[0, 1], [1 / 3, 1]])
    assert (mean_intervals(sums, counts, samples=200, seed=0) == found).all()
    np.testing.assert_allclose(
        mean_intervals(sums[:1], counts[:1], samples=9, seed=1), [[0, 0], [1, 1]]
    )
