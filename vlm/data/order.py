"""The order of samples: a pure function of (seed, epoch), split over processes, resumable."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import DataLoader, Sampler


class Draw(NamedTuple):
    """One sample asked for: enough to make its augmentation reproducible.

    Attributes:
        sample: its index in its set.
        epoch: counted from 0.
    """

    sample: int
    epoch: int


class ShuffledOrder(Sampler[Draw]):
    """Every sample once an epoch, in an order that (seed, epoch) alone decides.

    In several processes each takes an equal share, so that all make equally many
    steps; up to ``processes - 1`` samples rest for an epoch.

    Args:
        samples: how many there are.
        seed: of the order.
        process: which of the processes this is.
        processes: how many share the samples.
    """

    def __init__(self, samples: int, *, seed: int, process: int = 0, processes: int = 1) -> None:
        self._samples = samples
        self._seed = seed
        self._process = process
        self._processes = processes
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        return self._samples // self._processes

    def __iter__(self) -> Iterator[Draw]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self.epoch)
        order = torch.randperm(self._samples, generator=generator).tolist()
        share = order[self._process :: self._processes][: len(self)]
        yield from (Draw(index, self.epoch) for index in share[self.skip :])

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch


class FixedOrder(Sampler[Draw]):
    """Every sample exactly once over all processes, none repeated to even them out.

    Args:
        samples: how many there are.
        process: which of the processes this is.
        processes: how many share the samples.
    """

    def __init__(self, samples: int, *, process: int = 0, processes: int = 1) -> None:
        self._indices = range(process, samples, processes)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[Draw]:
        yield from (Draw(index, 0) for index in self._indices)


class ResumableLoader(DataLoader):
    """A loader over a :class:`ShuffledOrder` that goes on in the middle of an epoch.

    Lightning stores its state in every checkpoint and gives it back on resume.
    """

    _served = 0
    _resume: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many of its batches were handed out."""
        return {"epoch": self._order.epoch, "batches": self._served}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass begins after those batches, if it is one over that epoch."""
        self._resume = (state["epoch"], state["batches"])

    def __iter__(self) -> Iterator:  # pyright: ignore[reportIncompatibleMethodOverride]
        epoch, batches = self._resume or (-1, 0)
        self._resume = None
        self._served = batches if epoch == self._order.epoch else 0
        self._order.skip = self._served * (self.batch_size or 1)
        for batch in super().__iter__():
            self._served += 1
            yield batch

    @property
    def _order(self) -> ShuffledOrder:
        assert isinstance(self.sampler, ShuffledOrder)
        return self.sampler
