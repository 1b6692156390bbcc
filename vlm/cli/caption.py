"""``vlm caption CHECKPOINT IMAGE...``: captions of photos."""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vlm.cli.arguments import Arguments
from vlm.data.images import check_images
from vlm.decoding import BeamSearch
from vlm.errors import InputError
from vlm.extract import geometry_of
from vlm.training.captioning import CaptioningModule


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints one line an image, in the order given."""
    caption = parser(verb)
    caption.add_argument("--batch_size", type=_positive, default=16)
    caption.add_argument("--json", action="store_true", help="one JSON object a line")
    options = caption.parse_args(arguments)
    module = load(options)
    for start in range(0, len(options.images), options.batch_size):
        paths = options.images[start : start + options.batch_size]
        for path, caption, log_probability in captions(module, paths):
            if options.json:
                row = {"image": path, "caption": caption, "log_probability": log_probability}
                print(json.dumps(row, ensure_ascii=False), flush=True)
            else:
                print(f"{path}: {caption}", flush=True)


def parser(verb: str) -> Arguments:
    """The options that every verb over photos has."""
    parser = Arguments(prog=f"vlm {verb}")
    parser.add_argument("checkpoint", help="file that vlm fit or vlm demo wrote")
    parser.add_argument("images", nargs="+", metavar="image", help="image files")
    parser.add_argument("--backbone", help="folder or file of the backbone, if its source is gone")
    parser.add_argument("--beams", type=int, help="of beam search; the checkpoint's by default")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps")
    return parser


def load(options: argparse.Namespace) -> CaptioningModule:
    """The checkpoint's module on its device, after a look at every image."""
    check_images((Path(path) for path in options.images), origin="the command line")
    module = CaptioningModule.load(options.checkpoint, backbone=options.backbone)
    if options.beams is not None:
        if not isinstance(module.decoding, BeamSearch):
            raise InputError(f"--beams is for beam search, not for {module.decoding}; leave it out")
        module.decoding = replace(module.decoding, beams=options.beams)
    try:
        return module.to(torch.device(options.device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {options.device!r} cannot be used ({reason}); try cpu") from error


def captions(module: CaptioningModule, paths: Sequence[str]) -> Iterator[tuple[str, str, float]]:
    """Path, caption and log-probability of each image."""
    geometry = geometry_of(module.backbone)
    images = torch.stack([geometry.load(path) for path in paths]).to(module.device)
    decoded = module.write(module.look(images))
    for path, tokens, total in zip(paths, decoded.tokens[:, 0], decoded.sums[:, 0], strict=True):
        yield path, module.tokenizer.decode(tokens.tolist()), total.item()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value
