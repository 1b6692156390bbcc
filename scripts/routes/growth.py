"""How time and memory grow with each size, ours and Hugging Face's."""

from collections.abc import Callable, Iterable, Iterator

from routes.memory import peaks
from routes.rounds import OURS, Task, median, ratios, times
from routes.sizes import LONGEST, Sizes
from routes.training import training
from routes.writing import beam_search

BESIDE = "Hugging Face"
LABELS = ("time, ms", f"  {BESIDE}", "memory at the peak, MB", f"  {BESIDE}")
AXES: dict[str, tuple[int, ...]] = {
    "regions": (49, 196, 576),
    "beams": (1, 3, 5, 10),
    "texts": (1, 5, 10),
    "vocabulary": (3_000, 10_000, 50_000),
    "layers": (1, 3, 6),
}
TASKS: dict[str, tuple[Callable[[Sizes], Task], frozenset[str]]] = {
    "training step": (training, frozenset(AXES) - {"beams"}),
    "beam search": (beam_search, frozenset(AXES) - {"texts"}),
}


def growth(sizes: Sizes, axes: Iterable[str], rounds: int) -> Iterator[str]:
    """A table a task and axis, the other sizes as they are given; all captions equally long."""
    sizes = sizes._replace(shortest=LONGEST)
    for axis in axes:
        for name, (task, grown) in TASKS.items():
            if axis in grown:
                values = [sizes._replace(**{axis: value}) for value in AXES[axis]]
                columns = [_column(task, changed, rounds) for changed in values]
                yield f"\n{name + ' by ' + axis:33}" + "".join(f"{n:>12,}" for n in AXES[axis])
                for label, *cells in zip(LABELS, *columns, strict=True):
                    yield f"{label:33}" + "".join(f"{cell:>12}" for cell in cells)


def _column(task: Callable[[Sizes], Task], sizes: Sizes, rounds: int) -> list[str]:
    """What stands beside the labels, for one size."""
    both = task(sizes)
    both = both._replace(routes={name: both.routes[name] for name in (OURS, BESIDE)})
    measures = times("", both, rounds=rounds, device=sizes.device).measures
    memory = peaks(both, sizes.device)
    return [
        f"{median(measures[OURS]):,.0f}",
        f"{median(ratios(measures[BESIDE], measures[OURS])):.2f}x",
        f"{memory[OURS]:,.1f}",
        f"{memory[BESIDE] / memory[OURS]:.2f}x",
    ]
