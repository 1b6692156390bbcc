"""Verification: shards against their checksums, and random images through the backbone again."""

import random
from typing import NamedTuple

import torch

from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.extract.extraction import Extraction
from vlm.formats.ids import shown

# Of a vector's length. Another batch, machine or precision moves features by less than this;
# another layer, image, crop or backbone by far more.
TOLERANCE = 0.05


class Verification(NamedTuple):
    """What was compared.

    Attributes:
        shards: whose checksums are right.
        images: that were looked at again.
        error: the largest difference of an image's features, relative to their length.
    """

    shards: int
    images: int
    error: float


def verify(
    extraction: Extraction, store: FeatureStore, *, images: int, seed: int = 0
) -> Verification:
    """Compares a store with what the backbone sees now, in every view of random images.

    Args:
        extraction: that made the store.
        store: to be verified.
        images: how many; all if there are fewer.
        seed: of their choice.

    Raises:
        InputError: naming shards that have changed, or images whose features differ.
    """
    manifest = store.manifest
    parts = [(view, shard) for view in range(manifest.views) for shard in range(manifest.shards)]
    damaged = [
        f"view-{view}/{shard:06d}.bin" for view, shard in parts if not store.is_whole(view, shard)
    ]
    if damaged:
        raise InputError(
            f"store {store.path} has shards that changed since they were written: "
            f"{shown(damaged)}; remove those files and run the same vlm extract again"
        )
    ids = list(store)
    chosen = random.Random(seed).sample(ids, min(images, len(ids)))
    errors = {image_id: _error(extraction, store, store.row(image_id)) for image_id in chosen}
    different = [image_id for image_id, error in errors.items() if not error <= TOLERANCE]
    if different:
        raise InputError(
            f"store {store.path} holds other features than the backbone sees for "
            f"{len(different)} of {len(chosen)} images ({shown(different)}); the images or the "
            "weights have changed, extract a new store"
        )
    return Verification(len(parts), len(chosen), max(errors.values(), default=0.0))


def _error(extraction: Extraction, store: FeatureStore, row: int) -> float:
    """The largest relative difference over the views of an image."""
    worst = 0.0
    for view in range(store.manifest.views):
        loaded = extraction.loader.load(row, view)
        seen = torch.from_numpy(extraction.look([loaded])[0].features).float()
        kept = store.batch([row], [view]).features[0].float()
        if seen.shape != kept.shape:
            return float("inf")
        worst = max(worst, ((seen - kept).norm() / seen.norm().clamp(min=1e-12)).item())
    return worst
