"""Task: what a module learns over the memory of images, does with it, and is scored by."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import distributed

from vlm.explain.passages import Passage
from vlm.models.encoder import Memory
from vlm.regions import RegionFeatures
from vlm.training.objectives import Loss

Result = TypeVar("Result", bound=tuple)


class Task(ABC, Generic[Result]):
    """One thing that a module does; its results come back as files and scores.

    Attributes:
        name: of the task in logs, where a module has several.
        file: that its results are written to.
        results: what it did in this pass; each begins with the id that it is of.
        record: what ``metrics.json`` holds of the pass, None where there was nothing to score by.
        untaught: ids of tokens that the checkpoint a training starts from does not have.
    """

    name: str
    file: str

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.record: Mapping[str, Any] | None = None
        self.untaught: frozenset[int] = frozenset()

    @property
    def signature(self) -> str:
        """Of what training minimises, where numbers of others depend on it; else empty."""
        return ""

    def prepare(self, samples: Sequence[Any]) -> None:
        """Looks at the whole training set, once before the first step; most have no need to."""
        del samples

    @abstractmethod
    def loss(self, memory: Memory, samples: Sequence[Any]) -> Loss:
        """What training minimises; 0 where no sample has anything for the task.

        Args:
            memory: of the ``B`` images.
            samples: what is said about them.
        """

    @abstractmethod
    def plain_loss(self, memory: Memory, samples: Sequence[Any]) -> Loss:
        """The same without what only training does, for validation."""

    @abstractmethod
    def respond(self, memory: Memory, samples: Sequence[Any]) -> list[Result]:
        """What the module says about the images."""

    @abstractmethod
    def passages(self, regions: RegionFeatures, sample: Any) -> list[Passage]:
        """What it says about one image, to be explained: a caption, the answer to a question.

        Args:
            regions: of the image, ``B`` being 1.
            sample: what is said about it.
        """

    @abstractmethod
    def keys(self, samples: Sequence[Any]) -> list[Any]:
        """The ids that results are of, in the order of the samples."""

    def gathered(self, samples: Sequence[Any], processes: int) -> list[Result]:
        """The results of all processes, each once, in the order of the split."""
        parts: list[Sequence[Any]] = [self.results]
        if processes > 1:
            parts = [()] * processes
            distributed.all_gather_object(parts, self.results)
        by_id = {result[0]: result for part in parts for result in part}
        return [by_id[key] for key in self.keys(samples) if key in by_id]

    @abstractmethod
    def score(self, samples: Sequence[Any], split: str) -> dict[str, float]:
        """Scores all results of a pass and keeps the record.

        Args:
            samples: of the whole split; those without a result, which a limited pass leaves
                out, are not counted.
            split: ``val`` or ``test``.

        Returns:
            what is logged, by name.
        """

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """The results in the field's own format."""

    @abstractmethod
    def table(self, samples: Sequence[Any], most: int) -> tuple[list[str], list[list[Any]]]:
        """The first results beside what people said.

        Args:
            samples: of the whole split.
            most: rows.

        Returns:
            names of columns, and rows with the path of the image first, which has no name.
        """

    def notes(self, samples: Sequence[Any], split: str) -> list[str]:
        """What a user should know of a split before the work on it, a sentence each."""
        del samples, split
        return []

    def write_report(self, folder: Path, samples: Sequence[Any]) -> None:
        """Writes what people look at after a test, where there is more than scores."""
        del folder, samples


def joint_loss(losses: Mapping[Task, Loss], shares: Mapping[Task, float]) -> Loss:
    """The losses of several tasks as one; each is logged too where there are several.

    Args:
        losses: of each task.
        shares: of each in the whole.
    """
    value = torch.stack([shares[task] * loss.value for task, loss in losses.items()]).sum()
    logged: dict[str, Any] = {}
    for task, loss in losses.items():
        logged |= loss.logged
        if len(losses) > 1:
            logged[f"loss of {task.name}"] = loss.value
    return Loss(value, logged)
