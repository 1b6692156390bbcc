"""What every verb over photos shares: its options, and the checkpoint on its device."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from vlm.cli.arguments import Arguments
from vlm.data.images import check_images
from vlm.decoding import BeamSearch
from vlm.errors import InputError
from vlm.training.module import VisionLanguageModule


def parser(verb: str) -> Arguments:
    """The options that every verb has, the checkpoint first."""
    parser = Arguments(prog=f"vlm {verb}")
    parser.add_argument("checkpoint", help="file that vlm fit or vlm demo wrote")
    parser.add_argument("--backbone", help="folder or file of the backbone, if its source is gone")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, mps")
    return parser


def load(options: argparse.Namespace, images: Sequence[str]) -> VisionLanguageModule:
    """The checkpoint's module on its device, after a look at every image.

    Raises:
        InputError: if an image, the checkpoint or the device cannot be used.
    """
    check_images((Path(path) for path in images), origin="the command line")
    module = VisionLanguageModule.load(options.checkpoint, backbone=options.backbone)
    try:
        return module.to(torch.device(options.device))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {options.device!r} cannot be used ({reason}); try cpu") from error


def load_captioner(options: argparse.Namespace) -> VisionLanguageModule:
    """The same for a verb that writes captions, with its ``images`` and ``--beams``.

    Raises:
        InputError: if the module writes no captions, or not by beam search and beams are given.
    """
    module = load(options, options.images)
    task = module.captioning
    if options.beams is not None:
        if not isinstance(task.decoding, BeamSearch):
            raise InputError(f"--beams is for beam search, not for {task.decoding}; leave it out")
        task.decoding = replace(task.decoding, beams=options.beams)
    return module
