"""``vlm extract``: images through a frozen backbone, once, into a store of region features."""

import argparse
import os
from collections import Counter
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
    fabric = _fabric(options)
    try:
        _extract(options, fabric)
    except InputError:
        if fabric.is_global_zero:
            raise
        raise SystemExit(2) from None  # the first process has told it


def _extract(options: argparse.Namespace, fabric: "Fabric") -> None:
    from vlm.extract.plan import plan
    from vlm.extract.together import in_all, in_turn
    from vlm.extract.verification import verify

    extraction = in_all(fabric, lambda: _extraction(options, fabric))
    workers = _workers(options, fabric)
    told = in_turn(fabric, lambda: plan(extraction, workers=workers))
    if fabric.is_global_zero:
        print(f"{options.output}: {told}", flush=True)
    if options.dry_run:
        return
    store = extraction.run(workers=workers, skip_corrupt=options.skip_corrupt)
    if not fabric.is_global_zero:
        return
    skipped = len(extraction.images) - len(store)
    unread = "" if options.verify else "; --verify N reads it again"
    print(f"{options.output}: complete, {len(store):,} images, {skipped} skipped{unread}")
    if options.verify:
        done = verify(extraction, store, images=options.verify)
        print(
            f"verified: {done.shards} shards by checksum, {done.images} images looked at again, "
            f"largest difference {done.error:.1e} of a vector's length"
        )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Arguments(prog="vlm extract", description=__doc__)
    add = parser.add_argument
    add("--images", type=Path, required=True, help="a folder, COCO JSON or JSON lines")
    add("--folder", type=Path, help="that image names in a file are relative to; else looked for")
    add("--backbone", required=True, help="timm's name, or a folder in timm's local-dir layout")
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
    add("--workers", type=int, help="processes that decode images; none on a CPU, 8 at most else")
    add("--accelerator", default="auto", help="Lightning's: cpu, cuda, mps, auto")
    add("--devices", type=int, default=1, help="processes on this machine, a device each")
    add("--nodes", type=int, default=1, help="machines")
    add("--skip-corrupt", action="store_true", help="leave damaged images out and list them")
    add("--verify", type=int, default=0, metavar="N", help="look at N random images again")
    add("--dry-run", action="store_true", help="print the plan and stop")
    options = parser.parse_args(arguments)
    least = {"verify": 0, "devices": 1, "nodes": 1, "workers": 0, "max_boxes": 1}
    for name, bound in least.items():
        given = getattr(options, name)
        if given is not None and given < bound:
            raise InputError(f"expected --{name.replace('_', '-')} of {bound} or more, got {given}")
    return options


def _extraction(options: argparse.Namespace, fabric: "Fabric") -> "Extraction":
    import torch

    from vlm.extract import Extraction
    from vlm.models.backbone import FrozenBackbone

    images = _images(options)
    boxes = _boxes(options, images)
    if options.random_weights:
        torch.manual_seed(options.seed)  # the same in every process, and when it goes on
    is_folder = Path(options.backbone, "config.json").is_file()
    backbone = FrozenBackbone(
        f"local-dir:{options.backbone}" if is_folder else options.backbone,
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
    boxes = {image.image_id: found.get(image.image_id, []) for image in images}
    if options.images.is_dir():
        boxes |= _by_number(images, found)
    if not any(boxes.values()):
        raise InputError(
            f"{options.boxes} has no box for any image of {options.images}; give a file of the "
            "same images"
        )
    return boxes


def _by_number(images: "list[ListedImage]", found: "dict[Id, list[Box]]") -> "dict[Id, list[Box]]":
    """Boxes of a folder's images that the file knows by the number that their name is."""
    from vlm.data.imports.imported import image_id_of
    from vlm.formats.ids import shown

    numbers = {image.image_id: image_id_of(Path(image.name).name) for image in images}
    known = {
        key: number
        for key, number in numbers.items()
        if isinstance(number, int) and key not in found and number in found
    }
    claims = Counter(known.values())
    if doubled := [key for key, number in known.items() if claims[number] > 1]:
        raise InputError(
            f"several images of the folder have one number, {shown(doubled)}; list the images in "
            "a COCO file with their ids, and give it as --images"
        )
    return {key: found[number] for key, number in known.items()}


def _origin(options: argparse.Namespace) -> str:
    """What the manifest says of the boxes: their file's name and hash, and how many."""
    if options.boxes is None:
        return ""
    most = "" if options.max_boxes is None else f", at most {options.max_boxes}"
    return f"{options.boxes.name} {file_hash(options.boxes)}{most}"


def _fabric(options: argparse.Namespace) -> "Fabric":
    """Lightning's engine, launched; on accelerators in bfloat16 where they have it."""
    from datetime import timedelta

    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    from vlm.cli.accelerator import has_bf16, is_gpu

    devices, nodes = (1, 1) if options.dry_run else (options.devices, options.nodes)
    if not is_gpu(options.accelerator) and devices > (os.cpu_count() or 1):
        raise InputError(f"--devices {devices} is more than this machine's cores; give fewer")
    # A process may be done hours before the slowest one.
    together = DDPStrategy(timeout=timedelta(days=7)) if devices * nodes > 1 else "auto"
    try:
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=nodes,
            strategy=together,
            precision="bf16-mixed" if has_bf16(options.accelerator) else "32-true",
        )
    except (ValueError, RuntimeError) as error:  # Lightning's MisconfigurationException is one
        told = str(error).splitlines()[0]
        raise InputError(f"{told}; change --accelerator or --devices") from error
    fabric.launch()
    return fabric


def _workers(options: argparse.Namespace, fabric: "Fabric") -> int:
    """Processes that decode images: as many as asked, else enough that a GPU does not wait."""
    if options.workers is not None:
        return options.workers
    return 0 if fabric.device.type == "cpu" else min(8, os.cpu_count() or 1)


def _one_or_two(option: str, sides: list[int] | None) -> int | tuple[int, int] | None:
    match sides:
        case None:
            return None
        case [side]:
            return side
        case [rows, columns]:
            return rows, columns
    raise InputError(f"expected one or two numbers as {option}, got {len(sides)}; give two")
