"""Ensemble: captioners of several checkpoints that write one caption together."""

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import torch

from vlm.decoding import DecodingState
from vlm.errors import InputError
from vlm.regions import RegionFeatures
from vlm.training import checkpoint as checkpoints
from vlm.training.caption_task import CaptionTask
from vlm.training.module import VisionLanguageModule


class Member(NamedTuple):
    """A checkpoint's file, its module, and that module's task of writing captions."""

    file: str
    module: VisionLanguageModule
    task: CaptionTask


class Ensemble(CaptionTask):
    """Captions of several captioners, each word by the mean of their probabilities.

    Each looks with its own backbone. One that would see what the leader sees takes the leader's
    regions, so that a store serves all of them; any other looks at the image files.

    Args:
        leader: decides how captions are written.
        others: that write along.

    Raises:
        InputError: naming the file of a model that writes no captions, has another vocabulary
            than the leader, or no positions for captions as long as may be written.
    """

    def __init__(self, leader: Member, others: Sequence[Member]) -> None:
        led = leader.task
        super().__init__(
            led.captioner, led.tokenizer, objective=led.objective, decoding=led.decoding
        )
        self.leader = leader
        self.others = others
        for other in others:
            self._require(other)

    @torch.inference_mode()
    def along(self, samples: Sequence[Any]) -> list[DecodingState]:
        """The states of the others, each after a look of its own."""
        states: list[DecodingState] = []
        for _, module, task in self.others:
            module.to(self.leader.module.device)
            memory = module.network.encode(self._seen_by(module, samples))
            states.append(task.captioner.start(memory))
        return states

    def score(self, samples: Sequence[Any], split: str) -> dict[str, float]:
        """COCO's scores; the record names the files."""
        scores = super().score(samples, split)
        if self.record is not None:
            files = [self.leader.file, *(other.file for other in self.others)]
            self.record = {**self.record, "ensemble": files}
        return scores

    def passage(self, regions: RegionFeatures, caption: str | None = None) -> NoReturn:
        """Maps are those of one captioner.

        Raises:
            InputError: always.
        """
        del regions, caption
        raise InputError("an ensemble's captions have no maps; leave --ensemble out")

    def _seen_by(self, module: VisionLanguageModule, samples: Sequence[Any]) -> RegionFeatures:
        leader = self.leader.module
        eyes = [(m.backbone.hash, m.backbone.geometry, bool(m.boxes)) for m in (leader, module)]
        if eyes[0] == eyes[1]:
            return leader.looked
        return module.look_at([sample.path for sample in samples])

    def _require(self, other: Member) -> None:
        if other.task.tokenizer.vocabulary != self.tokenizer.vocabulary:
            raise InputError(
                f"{other.file} writes with another vocabulary than {self.leader.file}; give "
                "models that were trained on the same captions with one data.vocabulary"
            )
        longest, positions = self.decoding.max_length, other.task.captioner.decoder.max_length
        if longest > positions:
            raise InputError(
                f"{other.file} has {positions} positions, and captions of {longest} tokens may "
                "be written; lower decoding.max_length or leave the file out"
            )


def write_together(
    module: VisionLanguageModule, file: str, others: Sequence[str], *, backbone: str | None = None
) -> None:
    """Lets the captioners of other checkpoints write along with a module's own.

    Args:
        module: that leads; what else it does stays as it is.
        file: of its checkpoint.
        others: files of the other checkpoints.
        backbone: folder or file that holds the module's backbone, where its source is gone, for
            those that have the same one.

    Raises:
        InputError: naming the file that cannot be used.
    """
    led = module.captioning
    members = [_load(other, module.backbone.hash, backbone) for other in others]
    ensemble = Ensemble(Member(file, module, led), members)
    shares = module.tasks.items()
    module.tasks = {ensemble if task is led else task: share for task, share in shares}


def _load(file: str, known: str, backbone: str | None) -> Member:
    """A member, whose backbone is the one that is at hand if it has the known hash."""
    recipe = checkpoints.read(file)[checkpoints.SECTION]
    replacement = backbone if recipe["backbone"]["hash"] == known else None
    try:
        module = VisionLanguageModule.load(file, backbone=replacement)
        return Member(file, module, module.captioning)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
