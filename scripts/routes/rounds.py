"""Routes run in turn, and how many times ours their time and their memory are."""

import json
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

OURS = "ours"
SHORTEST = 0.1  # seconds that one measure takes

Route = Callable[[], object]


class Task(NamedTuple):
    """The same work by several routes, ``OURS`` among them, and what was checked of them."""

    routes: Mapping[str, Route]
    note: str


class Row(NamedTuple):
    """What was measured of every route, in every round.

    Attributes:
        name: of the work.
        unit: of the measures, as ``ms``.
        measures: of each route, one a round; ``OURS`` first.
        note: what was checked.
    """

    name: str
    unit: str
    measures: Mapping[str, Sequence[float]]
    note: str = ""

    def lines(self) -> list[str]:
        """Ours, then every other route by how many times ours it is: median and range."""
        ours = self.measures[OURS]
        lines = [f"{self.name:33} {OURS:28} {shown(ours)} {self.unit:2}  {self.note}".rstrip()]
        for route, theirs in self.measures.items():
            if route != OURS:
                found = ratios(theirs, ours)
                spread = f" [{min(found):.2f}..{max(found):.2f}]" if len(found) > 1 else ""
                lines.append(f"{self.name:33} {route:28} {median(found):9.2f}x{spread}")
        return lines


def median(measures: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(measures)


def shown(measures: Sequence[float]) -> str:
    """The median, with a digit behind the point where it is small."""
    middle = median(measures)
    return f"{middle:9,.{0 if middle >= 100 else 1}f}"


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """How many times ours, round by round."""
    return [other / own for other, own in zip(theirs, ours, strict=True)]


def times(name: str, task: Task, *, rounds: int, device: torch.device) -> Row:
    """Milliseconds of every route in interleaved rounds, after one that does not count."""
    measures: dict[str, list[float]] = {route: [] for route in task.routes}
    for _ in range(rounds + 1):
        for route, act in task.routes.items():
            measures[route].append(_milliseconds(act, device))
    return Row(name, "ms", {route: found[1:] for route, found in measures.items()}, task.note)


def _milliseconds(act: Route, device: torch.device) -> float:
    """Of one act; a short one is repeated, as a clock and a busy machine blur single ones."""
    count, begun = 0, perf_counter()
    while not count or perf_counter() - begun < SHORTEST:
        act()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        count += 1
    return 1000 * (perf_counter() - begun) / count


class Memory(NamedTuple):
    """MB beyond what was held before: at the peak of an act, and by what it returned."""

    peak: float
    held: float


def memory_of(act: Route, device: torch.device) -> Memory:
    """What an act takes of torch's own allocators.

    On the CPU torch's profiler writes down every allocation. What other libraries allocate for
    themselves, as scratch of matrix multiplications, is not seen.
    """
    if device.type != "cpu":
        before = torch.accelerator.memory_allocated(device)
        torch.accelerator.reset_peak_memory_stats(device)
        result = act()
        torch.accelerator.synchronize(device)
        peak, held = (
            torch.accelerator.max_memory_allocated(device),
            torch.accelerator.memory_allocated(device),
        )
        del result
        return Memory((peak - before) / 1e6, (held - before) / 1e6)
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it tells that it starts and stops
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = act()
    del result
    with TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        events = json.loads(file.read_text())["traceEvents"]
    changes = sorted((e for e in events if e["name"] == "[memory]"), key=lambda e: e["ts"])
    held = [*accumulate((event["args"]["Bytes"] for event in changes), initial=0)]
    return Memory(max(held) / 1e6, held[-1] / 1e6)
