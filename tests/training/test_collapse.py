"""The guard stops a training that has fallen apart, and no other."""

import re

import pytest

from vlm.errors import InputError
from vlm.training.collapse import CollapseGuard, Watch

WELL = {
    "greedy reward": 1.0,
    "distinct captions": 0.9,
    "bad endings": 0.02,
    "advantage deviation": 0.1,
}
GUARD = CollapseGuard(steps=3, least_distinct=0.25, most_bad_endings=0.5, most_lost=0.5)


def steps_until_stopped(numbers: list[dict[str, float]]) -> tuple[int, str]:
    watch = Watch(GUARD)
    for step, of_step in enumerate(numbers, start=1):
        try:
            watch.see(WELL | of_step)
        except InputError as error:
            return step, str(error)
    return 0, ""


@pytest.mark.parametrize(
    ("name", "value", "step", "sentence"),
    [
        # Means over three steps, the bad ones from the fourth step on.
        ("distinct captions", 0.0, 6, "0% of the samples are distinct captions"),
        ("distinct captions", 0.15, 6, "15% of the samples"),
        ("bad endings", 1.0, 5, "67% of the greedy captions end badly"),
        ("greedy reward", 0.0, 5, r"earn 0\.333 \(they began with 1\.000, expected 0\.500 or more"),
        ("advantage deviation", 0.0, 6, "all samples earn the same as their baseline"),
    ],
)
def test_a_collapse_stops_the_training_and_says_why(name, value, step, sentence):
    stopped, told = steps_until_stopped([{}] * 3 + [{name: value}] * 9)
    assert stopped == step
    assert told.startswith("over the last 3 steps ")
    assert re.search(sentence, told)
    assert "its checkpoints left as they were" in told


@pytest.mark.parametrize(
    "numbers",
    [
        [{}] * 20,
        [{"bad endings": 1.0}, {}, {}] * 9,
        [{"greedy reward": 1.0 - step / 40} for step in range(20)],
        [{"advantage deviation": 0.0}] * 2 + [{}] * 9,
        [{"greedy reward": -1.0}] * 3 + [{"greedy reward": -1.4}] * 9,
    ],
    ids=["well", "now and then", "a little", "not yet", "below zero"],
)
def test_what_is_no_collapse_goes_on(numbers):
    assert steps_until_stopped(numbers) == (0, "")


def test_a_reward_below_zero_may_fall_too():
    numbers = [{"greedy reward": -1.0}] * 3 + [{"greedy reward": -2.0}] * 9
    assert steps_until_stopped(numbers)[0] == 5


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"least_distinct": 1.1}, {"most_bad_endings": -0.1}, {"most_lost": -1}],
)
def test_thresholds_out_of_range_are_refused(options):
    name, value = next(iter(options.items()))
    with pytest.raises(InputError, match=f"got CollapseGuard.*{name}={value}.*; correct it"):
        CollapseGuard(**options)
