"""Deletion and insertion: hand-made areas, the oracle of a constructed model, one by one."""

import numpy as np
import pytest
import torch
from reading import COUNT, a_caption, a_question, of_one_region

from vlm.errors import InputError
from vlm.explain.curves import (
    Areas,
    Curve,
    chance,
    deletion,
    insertion,
    ranking,
    scored,
    table,
)
from vlm.explain.maps import explain
from vlm.explain.occlusion import masked_log_probabilities
from vlm.models.answer_heads import AnswerClassifier


def likely_over(passage, kept) -> np.ndarray:
    """``(T,)`` probabilities over some regions alone."""
    mask = torch.zeros(1, COUNT, dtype=torch.bool)
    mask[0, list(kept)] = True
    return masked_log_probabilities(passage, mask)[0].exp().numpy()


def test_curves_are_one_masking_after_another():
    passage = a_caption(padded=3)
    real = COUNT - 3
    rows = explain(passage, "relevance").map
    falling, rising = deletion(passage, rows, steps=4), insertion(passage, rows, steps=4)
    # 12 regions in 4 steps, of which one stays: 0, 3 (2.75), 6 (5.5), 8 (8.25) and 11 are gone.
    assert falling.removed.tolist() == [0, 3 / real, 6 / real, 8 / real, 11 / real]
    whole = likely_over(passage, range(real))
    for word, row in enumerate(rows):
        order = [region for region in np.argsort(-row) if region < real]
        for step, gone in enumerate((0, 3, 6, 8, 11)):
            without = likely_over(passage, order[gone:])[word] / whole[word]
            assert falling.heights[word, step] == pytest.approx(min(without, 1), abs=1e-5)
            first = likely_over(passage, order[: real - gone])[word] / whole[word]
            assert rising.heights[word, step] == pytest.approx(min(first, 1), abs=1e-5)
    assert falling.heights.min() < 0.9


def test_all_words_of_a_question_watch_its_answer():
    passage = a_question(AnswerClassifier)
    rows = np.tile(explain(passage).map[-1], (len(passage.words), 1))
    heights = deletion(passage, rows, steps=3).heights
    assert (heights == heights[-1]).all()
    order = np.argsort(-rows[0])
    left = likely_over(passage, order[5:])[0] / likely_over(passage, range(COUNT))[0]
    assert heights[0, 1] == pytest.approx(min(1, left), abs=1e-5)


def test_areas_are_mean_heights():
    drawn = Curve(np.array([0, 0.25, 0.75]), np.array([[1, 0.5, 0], [1, 1, 1]]))
    # Trapezoids 0.25 * 0.75 + 0.5 * 0.25 of a width of 0.75.
    np.testing.assert_allclose(drawn.areas, [0.3125 / 0.75, 1])
    assert drawn.area == pytest.approx((0.3125 / 0.75 + 1) / 2)


def test_the_oracle_deletes_and_inserts_best():
    passage, eye = of_one_region(6), np.eye(COUNT)
    falls = [deletion(passage, eye[region, None], steps=14).area for region in range(COUNT)]
    rises = [insertion(passage, eye[region, None], steps=14).area for region in range(COUNT)]
    by_chance = chance(passage, steps=14).area
    assert falls.pop(6) < min(*falls, by_chance)
    assert rises.pop(6) > max(*rises, by_chance)


def test_a_map_without_an_order_is_ordered_by_chance_with_a_seed():
    passage = a_question(AnswerClassifier)
    even = np.full((len(passage.words), COUNT), 1 / COUNT)
    one = deletion(passage, even, seed=1)
    assert (one.heights == one.heights[0]).all(), "words share the order"
    np.testing.assert_array_equal(one.heights, deletion(passage, even, seed=1).heights)
    assert (one.heights != deletion(passage, even, seed=2).heights).any()
    three = chance(passage, orders=3, seed=4)
    each = [deletion(passage, even, seed=seed).heights for seed in (4, 5, 6)]
    np.testing.assert_allclose(three.heights, np.mean(each, axis=0))


def test_few_regions_and_no_words_are_no_error():
    alone, pair = a_caption(padded=COUNT - 1), a_caption(padded=COUNT - 2)
    drawn = deletion(alone, explain(alone).map)
    assert drawn.removed.tolist() == [0]
    assert drawn.area == 1
    assert deletion(pair, explain(pair).map).removed.tolist() == [0, 0.5]
    silent = pair._replace(words=(), targets=(), chosen=(), shares=pair.shares[:0])
    nothing = scored(silent, ["last", "occlusion"])
    assert np.isnan([*nothing.values()]).all()
    assert ranking([nothing]) == {}
    something = scored(pair, ["last", "occlusion"])
    assert ranking([nothing, something]) == something


def test_no_step_is_no_curve():
    with pytest.raises(InputError, match="1 step or more, got 0"):
        deletion(a_caption(), np.ones((7, COUNT)), steps=0)


def test_reductions_are_ranked_by_deletion():
    nothing = Areas(np.nan, np.nan)
    passages = [
        {"even": Areas(0.75, 0.5), "good": Areas(0.25, 1.0), "by chance": Areas(0.5, 0.5)},
        {"even": nothing, "good": nothing, "by chance": nothing},
        {"even": Areas(0.25, 0.5), "good": Areas(0.5, 0.5), "by chance": Areas(1.0, 1.0)},
    ]
    ranked = ranking(passages)
    assert list(ranked.items()) == [
        ("good", (0.375, 0.75)),
        ("even", (0.5, 0.5)),
        ("by chance", (0.75, 0.75)),
    ]
    told = table(ranked).splitlines()
    assert told[1].split() == ["good", "0.375", "0.750"]
    assert len({len(line) for line in told}) == 1


def test_a_passage_is_scored_under_every_reduction_asked_for():
    passage = of_one_region(3)
    areas = scored(passage, ["gradient", "last"])
    assert list(areas) == ["gradient", "last", "by chance"]
    rows = explain(passage, "gradient").map
    expected = deletion(passage, rows).area, insertion(passage, rows).area
    assert areas["gradient"] == pytest.approx(expected)
    assert areas["gradient"].deletion < areas["by chance"].deletion
