"""When a self-critical training has collapsed: thresholds, and the watch over them."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from vlm.errors import InputError


@dataclass(frozen=True)
class CollapseGuard:
    """Thresholds on means over the last steps; beyond one of them the training stops.

    It stops with an error, so that the checkpoints stay as the last validation left them. A run
    that goes on from a checkpoint begins to count anew.

    Attributes:
        steps: that are averaged over, at least 1; nothing is judged before.
        least_distinct: share of samples that have to be distinct captions, in [0, 1].
        most_bad_endings: share of greedy captions that may end as none does
            (:data:`vlm.metrics.health.BAD_ENDINGS`), in [0, 1].
        most_lost: share of the greedy reward of the first ``steps`` that may be lost, at least 0.

    Raises:
        InputError: if one is out of its range.
    """

    steps: int = 50
    least_distinct: float = 0.1
    most_bad_endings: float = 0.5
    most_lost: float = 0.5

    def __post_init__(self) -> None:
        shares = (self.least_distinct, self.most_bad_endings)
        if self.steps < 1 or not all(0 <= share <= 1 for share in shares) or self.most_lost < 0:
            raise InputError(
                f"expected steps of at least 1, shares in [0, 1] and most_lost of at least 0, got "
                f"{self}; correct it"
            )


class Watch:
    """Keeps the numbers of the last steps and holds them against a guard.

    Args:
        guard: the thresholds.
    """

    def __init__(self, guard: CollapseGuard) -> None:
        self._guard = guard
        self._last: deque[Mapping[str, float]] = deque(maxlen=guard.steps)
        self._began: float | None = None

    def see(self, numbers: Mapping[str, float]) -> None:
        """Takes in one step.

        Raises:
            InputError: if a threshold is crossed, or all rewards of all these steps are equal.
        """
        guard = self._guard
        self._last.append(numbers)
        if len(self._last) < guard.steps:
            return
        greedy, distinct, ends = map(
            self._mean, ("greedy reward", "distinct captions", "bad endings")
        )
        began = self._began = greedy if self._began is None else self._began
        if not any(step["advantage deviation"] for step in self._last):
            raise self._stopped("all samples earn the same as their baseline", "nothing is learnt")
        if distinct < guard.least_distinct:
            raise self._stopped(
                f"{distinct:.0%} of the samples are distinct captions",
                f"expected {guard.least_distinct:.0%} or more",
            )
        if ends > guard.most_bad_endings:
            raise self._stopped(
                f"{ends:.0%} of the greedy captions end badly, as in 'with a'",
                f"expected {guard.most_bad_endings:.0%} or less",
            )
        least = began - guard.most_lost * abs(began)
        if greedy < least:
            raise self._stopped(
                f"the greedy captions earn {greedy:.3f}",
                f"they began with {began:.3f}, expected {least:.3f} or more",
            )

    def _mean(self, name: str) -> float:
        return fmean(step[name] for step in self._last)

    def _stopped(self, found: str, expected: str) -> InputError:
        return InputError(
            f"over the last {self._guard.steps} steps {found} ({expected}), so the training was "
            "stopped and its checkpoints left as they were; lower model.learning_rate, check the "
            "reward, or set model.objective.guard"
        )
