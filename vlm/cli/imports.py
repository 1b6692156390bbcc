"""``vlm import``: detector features that others published, into a store of region features."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.cli.arguments import Arguments

if TYPE_CHECKING:
    from vlm.data.imports import ImportedImage


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes the store and says how a config names it."""
    options = _options(arguments)

    from tqdm import tqdm

    from vlm.data.imports import read_features
    from vlm.data.imports.storing import store_features
    from vlm.formats.detections import read_sizes
    from vlm.models.imported import ImportedRegions

    name = options.name
    sizes = None if options.sizes is None else read_sizes(options.sizes)

    def counted() -> "Iterator[ImportedImage]":
        yield from tqdm(read_features(options.features, sizes=sizes), desc=name, unit=" images")

    def identity(width: int) -> str:
        return ImportedRegions(name, width).hash

    store = store_features(counted(), options.output, name, identity, dtype=options.dtype)
    width = store.manifest.width
    print(f"{options.output}: {len(store):,} images, regions of width {width}")
    print("in a config, as model.backbone:")
    arguments = f"{{name: {name}, width: {width}}}"
    print(f"  {{class_path: vlm.models.ImportedRegions, init_args: {arguments}}}")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Arguments(prog="vlm import", description=__doc__)
    add = parser.add_argument
    add("features", type=Path, help="a .tsv or .hdf5 file, or a folder of .npz or .npy files")
    add("--output", type=Path, required=True, help="folder of the store")
    add("--name", required=True, help="of what made the features, as configs shall call it")
    add("--sizes", type=Path, help="COCO JSON that tells the images' sizes, where boxes need them")
    add("--dtype", choices=["float16", "int8"], default="float16", help="of stored numbers")
    return parser.parse_args(arguments)
