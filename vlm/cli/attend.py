"""``vlm attend CHECKPOINT IMAGE...``: a picture of what each word looked at."""

from collections.abc import Sequence
from pathlib import Path

import torch

from vlm.cli.caption import load, parser
from vlm.data.images import load_image
from vlm.explain.maps import CaptionMaps, replay
from vlm.explain.overlay import strip
from vlm.extract import geometry_of
from vlm.training.captioning import CaptioningModule


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes one PNG an image and prints its caption and path."""
    attend = parser(verb)
    attend.add_argument("--output", default=".", help="folder of the pictures")
    options = attend.parse_args(arguments)
    module = load(options)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    for path in options.images:
        maps = look(module, path)
        target = _free(output, Path(path).stem)
        strip(load_image(path), maps).save(target)
        print(f"{path}: {' '.join(maps.words)}\n  {target}", flush=True)


@torch.inference_mode()
def look(module: CaptioningModule, path: str | Path) -> CaptionMaps:
    """The maps of the caption that the module writes about an image."""
    image = geometry_of(module.backbone).load(path).unsqueeze(0).to(module.device)
    regions = module.look(image)
    tokens = module.write(regions).tokens[:, 0].tolist()
    return replay(module.captioner, module.tokenizer, regions, tokens)[0]


def _free(folder: Path, stem: str) -> Path:
    """A name not taken yet: equal stems get -2, -3, ..."""
    target, number = folder / f"{stem}.png", 1
    while target.exists():
        number += 1
        target = folder / f"{stem}-{number}.png"
    return target
