"""Imported features to a store, which is there whole or not at all."""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from vlm.data.imports.imported import ImportedImage
from vlm.data.store import FeatureStore
from vlm.data.store.manifest import BEGUN, Manifest, shard_file, write_manifest
from vlm.data.store.shard import Layout, Regions, ShardWriter
from vlm.data.store.writer import StoreWriter
from vlm.errors import InputError
from vlm.formats.ids import Id

SHARD = 128  # images
BOX = 1  # the kind of every imported region
WHOLE = (0.0, 0.0, 1.0, 1.0)


def store_features(
    images: Iterable[ImportedImage],
    folder: Path,
    name: str,
    identity: Callable[[int], str],
    *,
    dtype: str = "float16",
) -> FeatureStore:
    """Writes a store of imported regions, image after image, beside ``folder`` and then there.

    Args:
        images: all different, their features of one width.
        folder: of the store, not there yet.
        name: of what made the features.
        identity: hash of a backbone of that name, given the features' width.
        dtype: of the stored numbers: ``float16``, or ``int8`` with a scale a region.

    Raises:
        InputError: if ``folder`` is there already, cannot be written, or there is no image.
    """
    if folder.exists():
        raise InputError(f"{folder} is there already; remove it or give another --output")
    partial = folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
        _write(iter(images), partial, name, identity, dtype)
        partial.rename(folder)
    except OSError as error:
        raise InputError(
            f"store {folder} cannot be written ({error.strerror or error}); make room or name "
            "another --output"
        ) from error
    finally:
        if partial != folder:
            shutil.rmtree(partial, ignore_errors=True)
    return FeatureStore(folder)


def _write(
    images: Iterator[ImportedImage],
    folder: Path,
    name: str,
    identity: Callable[[int], str],
    dtype: str,
) -> None:
    ids: list[Id] = []
    files: list[str] = []
    width = 0
    folder.chmod(0o755)  # as any other folder, not as a temporary one
    shard_file(folder, 0, 0).parent.mkdir()
    while some := list(islice(images, SHARD)):
        width = some[0].features.shape[1]
        gathered = ShardWriter(Layout(dtype, width, None))
        for image in some:
            kinds = np.full(len(image.features), BOX, np.uint8)
            size = (image.height, image.width)
            gathered.add(Regions(image.features, image.boxes, kinds), size=size, crop=WHOLE)
        gathered.write(shard_file(folder, 0, len(ids) // SHARD))
        ids += [image.image_id for image in some]
        files += [image.file_name for image in some]
    manifest = _manifest(ids, name, identity(width), dtype, width)
    write_manifest(folder / BEGUN, manifest)
    StoreWriter(folder, manifest).finish(ids, files)


def _manifest(ids: list[Id], name: str, identity: str, dtype: str, width: int) -> Manifest:
    return Manifest(
        backbone=name,
        backbone_hash=identity,
        geometry="",
        precision="as published",
        dtype=dtype,
        width=width,
        grid=None,
        images=len(ids),
        images_hash=hashlib.sha256(repr(ids).encode(errors="surrogatepass")).hexdigest()[:16],
        shard=SHARD,
    )
