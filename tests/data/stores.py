"""Stores of made-up features that the tests write without a backbone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlm.data.store.manifest import Manifest, shard_file
from vlm.data.store.shard import Regions, ShardWriter
from vlm.data.store.writer import StoreWriter

WIDTH, GRID = 5, (2, 3)
MANIFEST = Manifest(
    backbone="made-up",
    backbone_hash="0123456789abcdef",
    geometry="11x13 bicubic",
    precision="32-true",
    dtype="float16",
    width=WIDTH,
    grid=GRID,
    images=0,
    images_hash="",
    batch=3,
    shard=3,
)
WHOLE = (0.0, 0.0, 1.0, 1.0)
PART = (0.25, 0.0, 0.75, 0.5)  # what view 1 and later show


def made_up(row: int, view: int) -> Regions:
    """Features that tell row and view, on a grid."""
    cells = GRID[0] * GRID[1]
    start = (row * 10 + view) * cells * WIDTH
    return Regions(
        np.arange(start, start + cells * WIDTH, dtype=np.float32).reshape(cells, WIDTH) / 8
    )


def write_store(
    folder: Path,
    names: Sequence[str | int],
    *,
    views: int = 1,
    regions=made_up,
    skipped: Sequence[int] = (),
    **changes,
) -> Path:
    """A finished store of named images, in shards of three."""
    manifest = replace(MANIFEST, images=len(names), views=views, **changes)
    writer = StoreWriter(folder, manifest)
    with writer.lock():
        writer.begin()
        for view, shard in writer.missing():
            gathered = ShardWriter(manifest.layout)
            for row in manifest.rows(shard):
                if row in skipped:
                    gathered.skip(f"image {names[row]} is empty; restore it")
                else:
                    crop = PART if view else WHOLE
                    gathered.add(regions(row, view), size=(17 + row, 19), crop=crop)
            gathered.write(shard_file(folder, view, shard))
        writer.finish(names, [f"{name}" for name in names])
    return folder
