"""``vlm extract``: images through a frozen backbone, once, into a store of region features."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.cli.arguments import Arguments
from vlm.errors import InputError
from vlm.files import file_hash

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from vlm.extract import Extraction
    from vlm.formats.detections import Box
    from vlm.formats.ids import Id
    from vlm.formats.image_list import ListedImage


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints the plan, carries out what is left of it, and verifies where that is asked for."""
    options = _options(arguments)

    from vlm.extract.plan import plan
    from vlm.extract.verification import verify

    extraction = _extraction(options)
    chief = extraction.fabric.is_global_zero
    if chief:
        print(f"{options.output}: {plan(extraction, workers=options.workers)}", flush=True)
    if options.dry_run:
        return
    try:
        store = extraction.run(workers=options.workers, skip_corrupt=options.skip_corrupt)
    except InputError:
        if chief:
            raise
        raise SystemExit(2) from None  # the first process has told it
    if not chief:
        return
    skipped = len(extraction.images) - len(store)
    print(f"{options.output}: {len(store):,} images, {skipped} skipped; whole")
    if options.verify:
        done = verify(extraction, store, images=options.verify)
        print(
            f"verified: {done.shards} shards by checksum, {done.images} images looked at again, "
            f"largest difference {done.error:.1e}"
        )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Arguments(prog="vlm extract", description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="a folder, COCO JSON or JSON lines")
    add("--folder", type=Path, help="that image names in a file are relative to; else looked for")
    add("--backbone", required=True, help="timm's name, or local-dir:PATH")
    add("--weights", help="a file of the backbone's weights")
    add("--random-weights", action="store_true", help="of the backbone, for trials")
    add("--image-size", type=int, nargs="+", help="pixels a side, or height width")
    add("--layer", type=int, default=-1, help="whose map is kept, from 0; the last one")
    add("--pool", type=int, nargs="+", help="rows and columns the map is averaged down to")
    add("--output", type=Path, required=True, help="folder of the store")
    add("--dtype", choices=["float16", "int8"], default="float16", help="of stored numbers")
    add("--views", type=int, default=1, help="of each image; the first one is always clean")
    add("--seed", type=int, default=0, help="of the other views")
    add("--boxes", type=Path, help="COCO instances or detections JSON: boxes beside the grid")
    add("--max-boxes", type=int, help="of an image, the most confident ones")
    add("--batch-size", type=int, default=32, help="images looked at together")
    add("--workers", type=int, default=0, help="processes that decode images")
    add("--accelerator", default="auto", help="Lightning's: cpu, cuda, mps, auto")
    add("--devices", type=int, default=1, help="processes on this machine, a device each")
    add("--nodes", type=int, default=1, help="machines")
    add("--skip-corrupt", action="store_true", help="leave damaged images out and list them")
    add("--verify", type=int, default=0, metavar="N", help="look at N random images again")
    add("--dry-run", action="store_true", help="print the plan and stop")
    return parser.parse_args(arguments)


def _extraction(options: argparse.Namespace) -> "Extraction":
    from vlm.extract import Extraction
    from vlm.models.backbone import FrozenBackbone

    images = _images(options)
    boxes = _boxes(options, images)
    fabric = _fabric(options)
    backbone = FrozenBackbone(
        options.backbone,
        weights=options.weights,
        pretrained=not options.random_weights,
        image_size=_one_or_two("--image-size", options.image_size),
        layer=options.layer,
        pool=_one_or_two("--pool", options.pool),
    )
    return Extraction(
        images,
        backbone,
        options.output,
        dtype=options.dtype,
        views=options.views,
        seed=options.seed,
        boxes=boxes,
        boxes_origin=_origin(options),
        batch_size=options.batch_size,
        fabric=fabric,
    )


def _images(options: argparse.Namespace) -> "list[ListedImage]":
    """Of a folder, their names below it being their ids, or of a file that lists them."""
    from vlm.data.folders import list_images
    from vlm.formats.image_list import listed, read_image_list

    source: Path = options.images
    if source.is_dir():
        if options.folder is not None:
            raise InputError("--folder goes with a file of images, and --images is a folder")
        return listed(list_images(source), source)
    return read_image_list(source, options.folder)


def _boxes(
    options: argparse.Namespace, images: "list[ListedImage]"
) -> "dict[Id, list[Box]] | None":
    """Boxes by the ids of the list; a folder's images have them by the number in their name."""
    from vlm.formats.detections import read_boxes

    if options.boxes is None:
        if options.max_boxes is not None:
            raise InputError("--max-boxes goes with --boxes FILE; give one or leave it out")
        return None
    found = read_boxes(options.boxes, limit=options.max_boxes)
    numbered = {str(key).lstrip("0"): boxes for key, boxes in found.items()}
    boxes = {}
    for image in images:
        number = Path(image.name).stem.rpartition("_")[2].lstrip("0")
        boxes[image.image_id] = found.get(image.image_id) or numbered.get(number, [])
    if not any(boxes.values()):
        raise InputError(
            f"{options.boxes} has no box for any image of {options.images}; give a file of the "
            "same images"
        )
    return boxes


def _origin(options: argparse.Namespace) -> str:
    """What the manifest says of the boxes: their file's name and hash, and how many."""
    if options.boxes is None:
        return ""
    most = "" if options.max_boxes is None else f", at most {options.max_boxes}"
    return f"{options.boxes.name} {file_hash(options.boxes)}{most}"


def _fabric(options: argparse.Namespace) -> "Fabric":
    """Lightning's engine, launched; on accelerators in bfloat16 where they have it."""
    import torch
    from lightning.fabric import Fabric

    gpu = options.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    several = options.devices * options.nodes > 1
    try:
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=options.devices,
            num_nodes=options.nodes,
            strategy="ddp" if several else "auto",
            precision="bf16-mixed" if gpu and torch.cuda.is_bf16_supported() else "32-true",
        )
    except (ValueError, RuntimeError) as error:  # Lightning's MisconfigurationException is one
        raise InputError(
            f"{str(error).splitlines()[0]}; change --accelerator or --devices"
        ) from error
    fabric.launch()
    return fabric


def _one_or_two(option: str, sides: list[int] | None) -> int | tuple[int, int] | None:
    match sides:
        case None:
            return None
        case [side]:
            return side
        case [rows, columns]:
            return rows, columns
    raise InputError(f"expected one or two numbers as {option}, got {len(sides)}; give two")
