"""``vlm attend CHECKPOINT IMAGE...``: a picture of what each word looked at."""

from collections.abc import Sequence
from pathlib import Path

from vlm.cli.caption import load, parser
from vlm.data.images import ImageGeometry, load_image
from vlm.explain.overlay import PANEL, strip


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes one PNG an image and prints its caption and path."""
    attend = parser(verb)
    attend.add_argument("--output", default=".", help="folder of the pictures")
    options = attend.parse_args(arguments)
    module = load(options)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    enough = ImageGeometry(2 * PANEL, 2 * PANEL)
    for path in options.images:
        maps = module.attend(path)
        target = _free(output, Path(path).stem)
        strip(load_image(path, enough), maps).save(target)
        print(f"{path}: {' '.join(maps.words)}\n  {target}", flush=True)


def _free(folder: Path, stem: str) -> Path:
    """A name not taken yet: equal stems get -2, -3, ..."""
    target, number = folder / f"{stem}.png", 1
    while target.exists():
        number += 1
        target = folder / f"{stem}-{number}.png"
    return target
