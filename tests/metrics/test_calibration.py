"""Calibration of answers: values by hand, temperatures that are known, invariances, refusals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.metrics.calibration import (
    TEMPERATURES,
    Answered,
    Bin,
    answered,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

SOFT = (0.0, 0.3, 0.6, 0.9, 1.0)
CONFIDENCE = [0.05, 0.15, 0.25, 0.75, 0.95, 1.0]
ACCURACY = [0.0, 0.3, 0.6, 0.6, 0.9, 1.0]

pairs = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(SOFT)), min_size=1, max_size=40
)  # of confidence and accuracy


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logits))


def at_temperatures(logits: np.ndarray) -> np.ndarray:
    return sigmoid(logits[:, None] / np.array(TEMPERATURES))


def test_the_grid():
    assert len(TEMPERATURES) == 41
    assert (TEMPERATURES[0], TEMPERATURES[20], TEMPERATURES[40]) == (0.1, 1.0, 10.0)
    ratios = np.divide(TEMPERATURES[1:], TEMPERATURES[:-1])
    np.testing.assert_allclose(ratios, 10 ** (1 / 20))


@pytest.mark.parametrize("index", [2, 13, 20, 27, 38])
def test_scaled_logits_are_scaled_back(index: int):
    # Cross-entropy with the expected accuracy itself is least where the confidence equals it.
    logits = np.random.default_rng(index).normal(0, 1.5, 500)
    too_sure = logits * TEMPERATURES[index]
    assert fit_temperature(at_temperatures(too_sure), sigmoid(logits)) == TEMPERATURES[index]


@pytest.mark.parametrize("temperature", [0.43, 1.0, 2.37])
def test_a_temperature_is_found_from_answers_to_the_step_of_the_grid(temperature: float):
    rng = np.random.default_rng(11)
    logits = rng.normal(0, 2, 40_000)
    right = rng.random(logits.size) < sigmoid(logits)
    found = fit_temperature(at_temperatures(logits * temperature), right)
    assert abs(math.log(found / temperature)) < math.log(10) / 20


def test_the_best_temperature_by_hand():
    # One wrong and three right answers, all as sure: best is log 3 / T = logit of 3/4 = log 3
    # times what the logits are too large, here 1.9953 = 10 ** (6 / 20).
    logits = np.full(4, math.log(3) * 10**0.3)
    assert fit_temperature(at_temperatures(logits), [0, 1, 1, 1]) == pytest.approx(10**0.3)
    # The same mean accuracy by soft scores.
    assert fit_temperature(at_temperatures(logits), [0.6, 0.6, 0.9, 0.9]) == pytest.approx(10**0.3)


def test_the_loss_decides_and_not_the_calibration_error():
    # At one temperature every confidence is the mean accuracy, which has no calibration error; at
    # another they tell right from wrong: log 2 = 0.69 against -log 0.8 = 0.22.
    confidences = np.full((4, len(TEMPERATURES)), 0.01)
    accuracy = np.array([0, 0, 1, 1])
    confidences[:, 20] = 0.5
    confidences[:, 33] = [0.2, 0.2, 0.8, 0.8]
    assert expected_calibration_error(confidences[:, 20], accuracy) == 0
    assert fit_temperature(confidences, accuracy) == TEMPERATURES[33]


def test_of_equal_temperatures_the_nearest_to_one():
    same = np.full((3, len(TEMPERATURES)), 0.4)
    assert fit_temperature(same, [0, 0.3, 1]) == 1
    same[:, 15:24] = 0.1
    assert fit_temperature(same, [0.3, 0.6, 0.3]) == TEMPERATURES[24]
    # Surely right at every temperature: none is better than what is surest.
    assert fit_temperature(np.ones((2, len(TEMPERATURES))), [1, 1]) == 1


def test_surely_wrong_costs_much_and_not_all():
    # A: one wrong at confidence 1, 99 right at 1: 24 log 2 / 100 = 0.166. B: all at 0.8: 0.237.
    confidences = np.full((100, len(TEMPERATURES)), 0.8)
    confidences[:, 30] = 1
    accuracy = np.ones(100)
    accuracy[7] = 0
    assert fit_temperature(confidences, accuracy) == TEMPERATURES[30]
    accuracy[:2] = 0  # 3 * 24 log 2 / 100 = 0.499 against 0.265
    assert fit_temperature(confidences, accuracy) == 1


def test_without_questions():
    assert fit_temperature(np.empty((0, len(TEMPERATURES))), []) == 1
    assert reliability([], []) == []
    assert expected_calibration_error([], []) == 0
    assert answered([], [], threshold=0.5) == (0, 0)


def test_bins_by_hand():
    found = reliability(CONFIDENCE, ACCURACY, bins=4)
    # 0.25 opens the second bin; nothing is in the third; 1 is in the fourth.
    assert [(each.low, each.high, each.count) for each in found] == [
        *((0.0, 0.25, 2), (0.25, 0.5, 1), (0.75, 1.0, 3)),
    ]
    assert [each.confidence for each in found] == pytest.approx([0.1, 0.25, 0.9])
    assert [each.accuracy for each in found] == pytest.approx([0.15, 0.6, 2.5 / 3])
    # (2 * 0.05 + 1 * 0.35 + 3 * (0.9 - 2.5 / 3)) / 6 = 0.65 / 6
    error = expected_calibration_error(CONFIDENCE, ACCURACY, bins=4)
    assert error == pytest.approx(0.65 / 6)


def test_a_confidence_on_an_edge_opens_its_bin():
    edges = np.arange(100) / 100
    found = reliability(edges, np.zeros(100), bins=100)
    assert [(each.low, each.count) for each in found] == [(edge, 1) for edge in edges]


def test_the_default_has_ten_bins():
    found = reliability(np.linspace(0.05, 0.95, 10), np.zeros(10))
    assert [each.high for each in found] == [i / 10 for i in range(1, 11)]


def test_one_bin_compares_means():
    error = expected_calibration_error(CONFIDENCE, ACCURACY, bins=1)
    assert error == pytest.approx(abs(3.15 - 3.4) / 6)


def test_the_worst_and_the_best_error():
    assert expected_calibration_error([1, 1, 0], [0, 0, 1]) == 1
    assert expected_calibration_error([1, 1, 0], [1, 1, 0]) == 0


def test_calibrated_answers_have_next_to_no_error():
    rng = np.random.default_rng(5)
    sure = rng.random(100_000)
    right = rng.random(sure.size) < sure
    # Ten bins of 10,000 questions, each off by at most 0.004 in expectation.
    assert expected_calibration_error(sure, right) < 0.006
    assert expected_calibration_error(sure**2, right) > 0.15  # 1/2 - 1/3 in expectation


def test_withheld_answers_by_hand():
    assert answered(CONFIDENCE, ACCURACY, threshold=0) == pytest.approx((1, 3.4 / 6))
    at_edge = answered(CONFIDENCE, ACCURACY, threshold=0.75)
    assert isinstance(at_edge, Answered)
    assert at_edge.coverage == pytest.approx(0.5)
    assert at_edge.accuracy == pytest.approx(2.5 / 3)
    assert answered(CONFIDENCE, ACCURACY, threshold=1) == pytest.approx((1 / 6, 1))
    assert answered(CONFIDENCE[:-1], ACCURACY[:-1], threshold=1) == (0, 0)


@given(rows=pairs, seed=st.integers(0, 9))
def test_the_order_of_questions_does_not_matter(rows: list[tuple[float, float]], seed: int):
    sure, right = np.array(rows).T
    order = np.random.default_rng(seed).permutation(len(rows))
    np.testing.assert_allclose(
        np.array(reliability(sure[order], right[order])),
        np.array(reliability(sure, right)),
        atol=1e-12,
    )
    assert answered(sure[order], right[order], threshold=0.4) == pytest.approx(
        answered(sure, right, threshold=0.4)
    )
    logits = 8 * sure - 4
    assert fit_temperature(at_temperatures(logits[order]), right[order]) == fit_temperature(
        at_temperatures(logits), right
    )


@given(rows=pairs, bins=st.integers(1, 30))
def test_bins_hold_every_question_once(rows: list[tuple[float, float]], bins: int):
    sure, right = np.array(rows).T
    found = reliability(sure, right, bins=bins)
    assert sum(each.count for each in found) == len(rows)
    for each in found:
        inside = (sure >= each.low) & ((sure < each.high) | (each.high == 1))
        assert each.count == inside.sum() > 0
        assert each.confidence == pytest.approx(sure[inside].mean())
        assert each.accuracy == pytest.approx(right[inside].mean())
    means = expected_calibration_error(sure, right, bins=1)
    assert means - 1e-12 <= expected_calibration_error(sure, right, bins=bins) <= 1


@given(rows=pairs)
def test_every_question_twice_changes_nothing(rows: list[tuple[float, float]]):
    sure, right = np.array(rows).T
    once, twice = reliability(sure, right), reliability(np.tile(sure, 2), np.tile(right, 2))
    assert [each.count for each in twice] == [2 * each.count for each in once]
    error = expected_calibration_error(np.tile(sure, 2), np.tile(right, 2))
    assert error == pytest.approx(expected_calibration_error(sure, right))


def test_single_precision_is_taken():
    logits = np.linspace(-40, 40, 81, dtype=np.float32)
    assert fit_temperature(at_temperatures(logits).astype(np.float32), logits > 0) <= 1
    found = reliability(np.array([0.5, 1], np.float32), np.array([1, 0], np.float32))
    assert found == [Bin(0.5, 0.6, 1, 0.5, 1), Bin(0.9, 1, 1, 1, 0)]


def test_bad_arrays_are_told():
    grid = np.full((3, len(TEMPERATURES)), 0.5)
    with pytest.raises(
        ValueError, match=r"expected confidences \(N, 41\) and .*, got \(3, 40\) and"
    ):
        fit_temperature(grid[:, 1:], [0, 1, 1])
    with pytest.raises(ValueError, match=r"got \(3, 41\) and \(2,\)"):
        fit_temperature(grid, [0, 1])
    with pytest.raises(ValueError, match=r"got \(3, 41\) and \(3, 1\)"):
        fit_temperature(grid, [[0], [1], [1]])
    with pytest.raises(ValueError, match=r"expected confidence \(N,\) and accuracy \(N,\), got"):
        reliability([0.5], [1, 1])
    with pytest.raises(ValueError, match=r"got \(\) and \(\)"):
        answered(0.5, 1, threshold=0)
    with pytest.raises(ValueError, match="expected at least 1 bin, got 0"):
        expected_calibration_error([0.5], [1], bins=0)


@pytest.mark.parametrize("bad", [-0.01, 1.01, math.nan, math.inf])
def test_numbers_outside_are_told(bad: float):
    with pytest.raises(ValueError, match=rf"expected accuracy in \[0, 1\], got {bad}; divide"):
        reliability([0.5, 0.5], [1, bad])
    with pytest.raises(ValueError, match=r"expected confidence in \[0, 1\], got"):
        expected_calibration_error([bad], [1])
    with pytest.raises(ValueError, match=r"expected threshold in \[0, 1\], got"):
        answered([0.5], [1], threshold=bad)
    with pytest.raises(ValueError, match=r"expected confidences in \[0, 1\], got"):
        fit_temperature(np.full((1, len(TEMPERATURES)), bad), [1])
