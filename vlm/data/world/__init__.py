"""The built-in world: scenes to look at, drawn, told, masked and asked about, without end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vlm.data.world.captions import captions, described, main_object_right
from vlm.data.world.draw import draw
from vlm.data.world.facts import KINDS
from vlm.data.world.layout import sample_portrait, sample_scene
from vlm.data.world.questions import Question, ask
from vlm.data.world.scene import Scene, SceneObject
from vlm.data.world.write import write_split
from vlm.errors import InputError

__all__ = [
    "KINDS",
    "SPLITS",
    "Question",
    "Scene",
    "SceneObject",
    "World",
    "ask",
    "captions",
    "described",
    "draw",
    "main_object_right",
]

SPLITS = ("train", "val", "test", "test_seen")
IDS_PER_SPLIT = 1_000_000


@dataclass(frozen=True)
class World:
    """All scenes of one seed.

    One in eight combinations of colour, material and shape is held out: the subject and the
    second object of every ``test`` scene are such combinations, and nothing in any other split
    is. Each single attribute and each pair of attributes does occur in training.

    Attributes:
        seed: of everything; two worlds of one seed are the same to the last byte.
    """

    seed: int = 0

    def scene(self, split: str, index: int) -> Scene:
        """A scene; which one depends on nothing but seed, split and index.

        Args:
            split: one of `SPLITS`.
            index: from 0, below a million.

        Raises:
            InputError: if there is no such split or index.
        """
        if split not in SPLITS:
            raise InputError(f"the world has no split {split!r}; choose one of {', '.join(SPLITS)}")
        if not 0 <= index < IDS_PER_SPLIT:
            raise InputError(
                f"scene {index} does not exist; a split has scenes 0 to {IDS_PER_SPLIT - 1}"
            )
        rng = np.random.default_rng([self.seed, SPLITS.index(split), index])
        return sample_scene(rng, self.seed, unseen=split == "test")

    def portrait(self, index: int, *, unseen: bool = False) -> Scene:
        """A small picture of one object, for eyes to learn from; in no split.

        Args:
            index: from 0.
            unseen: whether the object is a held-out combination, as only a check of what was
                learned may ask for.
        """
        rng = np.random.default_rng([self.seed, len(SPLITS) + unseen, index])
        return sample_portrait(rng, self.seed, unseen=unseen)

    def write(
        self,
        folder: Path,
        splits: Mapping[str, int],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Writes splits in COCO's and VQA v2's formats: images, captions, masks and questions.

        Image ids are unique across splits. Each image's entry also holds ``unseen`` and the
        ``scene`` that `Scene.from_record` reads back. The questions of a split are balanced
        within it, so they depend on how many scenes it has.

        Args:
            folder: gets ``images/`` and, for each split, ``captions_{split}.json``,
                ``instances_{split}.json``, ``questions_{split}.json`` and
                ``annotations_{split}.json``.
            splits: how many images of each split.
            progress: called after each image with how many of how many are written.

        Raises:
            InputError: if there is no such split, or it has fewer scenes.
        """
        scenes = {
            split: [self.scene(split, n) for n in range(count)] for split, count in splits.items()
        }
        done, total = 0, sum(splits.values())

        def written() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        for split, drawn in scenes.items():
            first_id = (SPLITS.index(split) + 1) * IDS_PER_SPLIT
            write_split(folder, split, drawn, first_id=first_id, written=written)
