"""``vlm attend CHECKPOINT IMAGE...``: a picture of what each word looked at.

Of the caption that is written, or of the question that is asked.
"""

from collections.abc import Sequence
from pathlib import Path

from vlm.cli.caption import parser
from vlm.cli.photos import load, load_captioner
from vlm.data.images import ImageGeometry, load_image
from vlm.explain.overlay import PANEL, strip


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes one PNG an image and prints its caption and path."""
    attend = parser(verb)
    attend.add_argument("--output", default=".", help="folder of the pictures")
    attend.add_argument("--question", help="whose words look, in place of a caption's")
    options = attend.parse_args(arguments)
    captions = options.question is None
    module = load_captioner(options) if captions else load(options, options.images)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    enough = ImageGeometry(2 * PANEL, 2 * PANEL)
    for path in options.images:
        maps = module.attend(path, options.question)
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
