"""Maps of words in a folder against the masks of the objects that the words name."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlm.cli.grounding_table import grounding_table
from vlm.cli.report import Report
from vlm.errors import InputError
from vlm.formats.ids import Id, shown
from vlm.formats.instances import Scene, read_scenes
from vlm.formats.word_maps import WordMaps, read_word_maps
from vlm.metrics.grounding import SIGMA
from vlm.metrics.grounding_scores import SAMPLES, SCORES, SHUFFLES, GroundingScores, reduced
from vlm.metrics.hallucination import Synonyms
from vlm.metrics.nouns import Nouns, SceneObjects, names_of_objects
from vlm.metrics.signature import grounding_signature

FURTHEST = 1e-3  # that a box may reach out of the image by rounding


def evaluate_grounding(options: argparse.Namespace) -> Report:
    """What each reduction of the maps in a folder is worth, beside the ceiling and baselines."""
    files = _maps_in(Path(options.grounding))
    scenes, categories = read_scenes(Path(options.instances))
    table = options.synonyms
    synonyms = names_of_objects(None if table is None else Path(table))
    nouns, pictures = Nouns(categories, synonyms), _Pictures(Path(options.instances), scenes)
    objects: dict[Id, SceneObjects] = {}
    folder = _Folder()
    for file in files:
        maps = _read(file)
        scene = pictures.find(file, maps.image)
        here = objects.setdefault(scene.image_id, SceneObjects(scene, nouns))
        folder.add(file, maps, scene, here)
    if folder.scores is None or not folder.scores.images:
        raise InputError(
            f"{options.grounding}: no word of {len(files)} files names an object that "
            f"{options.instances} has a mask of ({folder.absent} name one that is not in the "
            f"picture, {folder.unmasked} one without a mask); give captions that name one of "
            f"{shown(categories)}, or their names with --synonyms"
        )
    about = {
        "images": folder.scores.images,
        "files": len(files),
        "words not in the picture": folder.absent,
        "words without a mask": folder.unmasked,
        "signature": signature_of(folder.scores, synonyms),
    }
    metrics = {name: {**row, "of": about} for name, row in folder.scores.record().items()}
    return Report(metrics, folder.records, grounding_table(metrics))


class _Folder:
    """The files of one folder, scored one after the other; all must be of one kind of model."""

    def __init__(self) -> None:
        self.scores: GroundingScores | None = None
        self.records: list[dict[str, Any]] = []
        self.absent = self.unmasked = 0
        self._first: tuple[Path, list[str]] | None = None

    def add(self, file: Path, maps: WordMaps, scene: Scene, objects: SceneObjects) -> None:
        """Scores the words of a file."""
        found = objects.named(maps.words)
        self.absent += found.absent
        self.unmasked += found.unmasked
        rows = reduced(maps, found.mentions)
        names = list(rows)
        if self._first is None or self.scores is None:
            self._first, self.scores = (file, names), GroundingScores(names)
        first, expected = self._first
        if names != expected:
            raise InputError(
                f"{file} has maps {_kind(maps, names)}, where {first.name} has other ones "
                f"({expected[0]}, {len(expected)} reductions); score files of one model with "
                "one reduction at a time"
            )
        if not found.words:
            return
        values = self.scores.add(
            scene.image_id, maps.boxes, np.stack([*rows.values()]), found.words
        )
        for place, word in enumerate(found.words):
            scores = {
                name: dict(zip(SCORES, row[place].tolist(), strict=False))
                for name, row in zip(names, values, strict=True)
            }
            self.records.append(
                {
                    **{"image_id": scene.image_id, "file": file.name, "word": word.text},
                    **{"category": word.category, "unique": word.unique, "scores": scores},
                }
            )


class _Pictures:
    """Finds the image that a file of maps is of."""

    def __init__(self, instances: Path, scenes: Sequence[Scene]) -> None:
        self._instances = instances
        self._by_name = _single(scenes, _basename)
        self._by_stem = _single(scenes, lambda name: Path(_basename(name)).stem)

    def find(self, file: Path, image: str) -> Scene:
        """By the name that a file stores, else by its own, without ``-2`` as the last resort.

        Raises:
            InputError: if no image fits, or several do.
        """
        names = [_basename(image)] if image else []
        stems = [Path(name).stem for name in names] + [file.stem]
        stems += [re.sub(r"-\d+$", "", file.stem)]
        found = [self._by_name[name] for name in names if name in self._by_name]
        found += [self._by_stem[stem] for stem in stems if stem in self._by_stem]
        if found and found[0] is not None:
            return found[0]
        problem = "lists more than once" if found else "does not list"
        raise InputError(
            f"{file} is of {image or file.stem!r}, which {self._instances} {problem}; give the "
            "instances of all images, each name once, or take the file out of the folder"
        )


def _single(scenes: Sequence[Scene], key: Callable[[str], str]) -> Mapping[str, Scene | None]:
    """Images by a part of their name; None where several have it."""
    found: dict[str, Scene | None] = {}
    for scene in scenes:
        name = key(scene.name)
        found[name] = None if name in found else scene
    return found


def _basename(name: str) -> str:
    """The last part of a path as any system writes it."""
    return re.split(r"[\\/]", name)[-1]


def _maps_in(folder: Path) -> list[Path]:
    """The files of maps in a folder, by name."""
    if not folder.is_dir():
        raise InputError(f"{str(folder)!r} is no folder; --grounding takes one with maps (.npz)")
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise InputError(
            f"{str(folder)!r} has no maps (.npz); vlm attend CHECKPOINT IMAGE --npz --output "
            f"{folder} writes some"
        )
    return files


def _read(file: Path) -> WordMaps:
    """One file, its boxes held to lie in the image."""
    maps = read_word_maps(file)
    boxes = maps.boxes
    inside = np.isfinite(boxes).all() and (abs(boxes - 0.5) <= 0.5 + FURTHEST).all()
    if not len(boxes) or not inside or (boxes[:, 2:] < boxes[:, :2]).any():
        raise InputError(
            f"{file}: expected boxes as x0 y0 x1 y1 in [0, 1] of the image, got others, in "
            "pixels perhaps, or as x y width height; write the file anew"
        )
    return maps


def _kind(maps: WordMaps, names: Sequence[str]) -> str:
    layers, heads = maps.weights.shape[:2]
    return f"of {layers} layers and {heads} heads ({maps.reduction}, {len(names)} reductions)"


def signature_of(scores: GroundingScores, synonyms: Synonyms) -> str:
    """How the scores were made, with a hash of the words that they are of."""
    words = (
        [str(image), word.text, word.category, int(word.mask.cells.sum()), word.unique]
        for image, word in scores.words
    )
    how = {"sigma": SIGMA, "shuffles": SHUFFLES, "samples": SAMPLES}
    return grounding_signature(synonyms.hash, words, n=scores.images, **how)
