"""Manifest: what a store of region features holds and what they were made with."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlm.data.store.shard import Layout
from vlm.errors import InputError
from vlm.files import read_json, write_json

FORMAT = 1
FINISHED, BEGUN = "manifest.json", "extraction.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All that decides the bytes of a store; two extractions of one manifest are equal.

    Attributes:
        backbone: what made the features: timm's name, or that of a published file.
        backbone_hash: of weights, layer and pooling; of an import the kind of file.
        geometry: how images were brought to the backbone, as text; empty for an import.
        layer: whose map it is, as :class:`vlm.models.FrozenBackbone` counts.
        pool: (rows, columns) that it was averaged down to; None where it was not.
        precision: that the backbone computed in.
        dtype: of the stored numbers, ``float16`` or ``int8``.
        width: of a region's features.
        grid: (rows, columns) of the regions; None where each has a box of its own.
        boxes: where further regions came from, as text; empty on a plain grid.
        images: how many the list has, skipped ones included.
        images_hash: of the list: ids, file names and file sizes.
        views: of each image; view 0 is the clean one.
        augmentation: of the other views, as text; empty where there are none.
        seed: of the other views.
        batch: images that were looked at together.
        shard: images in each shard, the last one may have fewer.
        format: of the files, raised when an older program could not read them.
    """

    backbone: str
    backbone_hash: str
    geometry: str
    layer: int = -1
    pool: tuple[int, int] | None = None
    precision: str
    dtype: str
    width: int
    grid: tuple[int, int] | None
    boxes: str = ""
    images: int
    images_hash: str
    views: int = 1
    augmentation: str = ""
    seed: int = 0
    batch: int = 1
    shard: int
    format: int = FORMAT

    @property
    def layout(self) -> Layout:
        """What a shard must know."""
        return Layout(self.dtype, self.width, self.grid)

    @property
    def shards(self) -> int:
        """How many each view has."""
        return -(-self.images // self.shard)

    def rows(self, shard: int) -> range:
        """The rows of the image list that a shard holds."""
        return range(shard * self.shard, min((shard + 1) * self.shard, self.images))

    def difference(self, other: "Manifest") -> str:
        """What tells two manifests apart, both values named; empty where they are equal."""
        ours, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name} {ours[name]!r} and not {theirs[name]!r}"
            for name in ours
            if ours[name] != theirs[name]
        )


def shard_file(folder: Path, view: int, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"view-{view}" / f"{shard:06d}.bin"


def write_manifest(file: Path, manifest: Manifest, extra: dict[str, Any] | None = None) -> None:
    """Writes a manifest, whole or not at all, with what was found while it was carried out."""
    write_json(file, asdict(manifest) | (extra or {}))


def read_manifest(folder: Path) -> tuple[Manifest, dict[str, Any]]:
    """The manifest of a finished store, and what else stands in it.

    Raises:
        InputError: if the folder is missing, no store, not finished, or of a newer format.
    """
    if not (folder / FINISHED).is_file():
        if (folder / BEGUN).is_file():
            raise InputError(
                f"store {folder} is not finished; run the same vlm extract again, which goes on"
            )
        raise InputError(
            f"{folder} is no store of region features; make one with vlm extract --output {folder}"
        )
    return parse_manifest(folder / FINISHED)


def parse_manifest(file: Path) -> tuple[Manifest, dict[str, Any]]:
    """A manifest and what else stands in its file.

    Raises:
        InputError: if it is cut off, of another kind or of a newer format.
    """
    tree = read_json(file)
    version = tree.get("format") if isinstance(tree, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise InputError(
            f"{file} is of format {version}, this program reads up to {FORMAT}; install a newer vlm"
        )
    names = Manifest.__dataclass_fields__
    if not isinstance(tree, dict) or not names.keys() <= tree.keys():
        raise InputError(f"{file} is not the manifest of a store; extract it again")
    known: dict[str, Any] = {name: tree.pop(name) for name in names}
    for name in ("grid", "pool"):  # JSON knows no tuples
        known[name] = None if known[name] is None else tuple(known[name])
    return Manifest(**known), tree
