"""Verification: shards against their checksums, and random images through the backbone again."""

import random
from typing import NamedTuple

import numpy as np
import torch

from vlm.data.store import NEW_INDEX, FeatureStore
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
    if not store.index_is_whole():
        raise InputError(
            f"the index of store {store.path} changed since it was written; {NEW_INDEX}"
        )
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
    """The largest relative difference over the views of an image, infinite if others."""
    worst = 0.0
    for view in range(store.manifest.views):
        batch = extraction.loader.batch([row], view)
        told = batch.views[0]
        if isinstance(told, str):
            raise InputError(told)
        seen, kept = extraction.look(batch)[0], store.batch([row], [view])
        features, stored = torch.from_numpy(seen.features).float(), kept.features[0].float()
        placed = seen.boxes is None or np.allclose(seen.boxes, kept.boxes[0], atol=1e-5)
        same_crop = np.allclose(told.crop, store.crop(row, view), atol=1e-6)
        if features.shape != stored.shape or not placed or not same_crop:
            return float("inf")
        error = (features - stored).norm() / features.norm().clamp(min=1e-12)
        worst = max(worst, error.item())
    return worst
