"""Whether a captioner looks at what it names, on photos with masks that it was not trained on.

Of each photo the caption that the model writes, and those of people that it can write, are read
under every reduction; nouns that name an object of the photo are scored against its masks, as
``vlm evaluate --grounding`` does:

    python scripts/grounding_of_photos.py runs/flickr8k/checkpoints/best.ckpt \
        --images ../shared/data/coco/images --annotations ../shared/data/coco/annotations

Both splits are read, as none of them was trained on.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vlm.cli.evaluate_grounding import signature_of
from vlm.cli.grounding_table import grounding_table
from vlm.errors import InputError
from vlm.explain.maps import BY_MODEL, explain, reduced
from vlm.explain.passages import Passage
from vlm.files import write_json
from vlm.formats.captions import read_captions
from vlm.formats.ids import Id
from vlm.formats.instances import read_scenes
from vlm.metrics.grounding_scores import SCORES, GroundingScores
from vlm.metrics.grounding_scores import reduced as reduced_by_weights
from vlm.metrics.hallucination import Synonyms
from vlm.metrics.nouns import Mention, Nouns, SceneObjects, names_of_objects
from vlm.text.ptb import tokenize
from vlm.training.module import VisionLanguageModule

SPLITS, AUTHORS = ("train", "val"), ("the model", "people")


class Photo(NamedTuple):
    """A photo, what it shows, and what people said of it."""

    image_id: Id
    path: Path
    objects: SceneObjects
    captions: Sequence[str]


def main() -> None:
    """Reads captions of all photos and prints a table for those of the model and of people."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="folder of the photos")
    parser.add_argument(
        "--annotations",
        type=Path,
        required=True,
        help="folder of captions_SPLIT.json and instances_SPLIT.json",
    )
    parser.add_argument("--people", type=int, default=5, help="captions of people's a photo, most")
    parser.add_argument("--output", type=Path, help="JSON of all scores")
    given = parser.parse_args()
    if given.people < 1:
        parser.error(f"expected 1 caption of people's or more, got --people {given.people}")
    module = VisionLanguageModule.load(given.checkpoint)
    synonyms = names_of_objects(None)
    photos = [photo for split in SPLITS for photo in photos_of(split, given, synonyms)]
    record = {}
    for author in AUTHORS:
        scores, counts = None, Counter()
        for photo in tqdm(photos, desc=f"captions of {author}", leave=False):
            captions = photo.captions if author == "people" else None
            for passage in passages(module, photo.path, captions, most=given.people):
                found = photo.objects.named(passage.words)
                counts["texts"] += 1
                counts["words not in the picture"] += found.absent
                counts["words without a mask"] += found.unmasked
                if found.words:
                    rows, boxes = all_maps(passage, found.mentions)
                    scores = scores or GroundingScores(list(rows))
                    scores.add(photo.image_id, boxes, np.stack([*rows.values()]), found.words)
        if scores is None:
            raise SystemExit(f"no caption of {author} names an object with a mask")
        about = {"images": scores.images, **counts, "signature": signature_of(scores, synonyms)}
        record[author] = {name: {**row, "of": about} for name, row in scores.record().items()}
        print(f"\n{counts['texts']} captions of {author}")
        print(grounding_table(record[author]))
        print(margins(record[author]), flush=True)
    if given.output:
        write_json(given.output, record)


def photos_of(split: str, given: argparse.Namespace, synonyms: Synonyms) -> Iterator[Photo]:
    """The photos of a split that have instances, each with its captions, if it has any."""
    scenes, categories = read_scenes(given.annotations / f"instances_{split}.json")
    nouns = Nouns(categories, synonyms)
    samples = read_captions(given.annotations / f"captions_{split}.json", given.images)
    captions = {sample.image_id: sample.captions for sample in samples}
    for scene in scenes:
        said = captions.get(scene.image_id, ())
        yield Photo(scene.image_id, given.images / scene.name, SceneObjects(scene, nouns), said)


def margins(metrics: Mapping[str, Mapping[str, Any]]) -> str:
    """Of every reduction but single heads, what it has over a map of the centre, with 95 %."""
    lines = ["over the centre baseline:" + "".join(f"{score:>26}" for score in SCORES)]
    for name, row in metrics.items():
        if "-head-" not in name:
            cells = (row["over centre"][score] for score in SCORES)
            lines.append(f"{name:25}" + "".join(f"{_cell(**cell):>26}" for cell in cells))
    return "\n".join(lines)


def _cell(points: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{points:+.3f} [{low:+.3f}, {high:+.3f}]"


def passages(
    module: VisionLanguageModule, path: Path, captions: Sequence[str] | None, *, most: int
) -> Iterator[Passage]:
    """The caption that the model writes, or the first of people's that it could write."""
    if captions is None:
        yield module.passage(path)
        return
    for caption in captions:
        words = " ".join(tokenize([caption])[0])
        try:
            yield module.passage(path, caption=words)
        except InputError:  # a word that the model does not have
            continue
        most -= 1
        if not most:
            return


def all_maps(passage: Passage, mentions: Sequence[Mention]) -> tuple[dict[str, NDArray], NDArray]:
    """Maps ``(S, N)`` of what a text names, under every reduction; and the boxes of regions."""
    maps = explain(passage)
    rows = reduced_by_weights(maps, mentions)
    for name in BY_MODEL:
        own = reduced(passage, maps.weights, name)
        alone = maps._replace(map=own, reduction=name, weights=maps.weights[:0])
        rows |= reduced_by_weights(alone, mentions)
    return rows, maps.boxes


if __name__ == "__main__":
    main()
