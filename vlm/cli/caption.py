"""``vlm caption CHECKPOINT IMAGE...``: captions of photos."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from vlm.cli.arguments import Arguments
from vlm.cli.photos import load_captioner
from vlm.cli.photos import parser as photo_parser
from vlm.formats.captions import CaptionSample
from vlm.training.caption_task import CaptionResult
from vlm.training.ensemble import write_together
from vlm.training.module import VisionLanguageModule


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints one line an image, in the order given."""
    caption = parser(verb)
    caption.add_argument("--batch_size", type=_positive, default=16)
    caption.add_argument("--json", action="store_true", help="one JSON object a line")
    caption.add_argument(
        "--ensemble",
        nargs="+",
        metavar="CHECKPOINT",
        help="others that write along: the mean of the probabilities of all decides",
    )
    options = caption.parse_args(arguments)
    module = load_captioner(options)
    if options.ensemble:
        others, backbone = options.ensemble, options.backbone
        write_together(module, options.checkpoint, others, backbone=backbone)
    for start in range(0, len(options.images), options.batch_size):
        paths = options.images[start : start + options.batch_size]
        for path, caption, log_probability in captions(module, paths):
            if options.json:
                row = {"image": path, "caption": caption, "log_probability": log_probability}
                print(json.dumps(row, ensure_ascii=False), flush=True)
            else:
                print(f"{path}: {caption}", flush=True)


def parser(verb: str) -> Arguments:
    """The options of a verb that writes captions."""
    parser = photo_parser(verb)
    parser.add_argument("images", nargs="+", metavar="image", help="image files")
    parser.add_argument("--beams", type=int, help="of beam search; the checkpoint's by default")
    return parser


def captions(module: VisionLanguageModule, paths: Sequence[str]) -> Iterator[CaptionResult]:
    """Path, caption and log-probability of each image."""
    samples = [CaptionSample(path, Path(path), ()) for path in paths]
    with torch.inference_mode():
        module.looked = module.look_at(paths)
        memory = module.network.encode(module.looked)
    yield from module.captioning.respond(memory, samples)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value
