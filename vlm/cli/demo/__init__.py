"""``vlm demo``: a world drawn; a captioner and an answerer trained on it, scored, seen looking."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vlm.cli.arguments import Arguments
from vlm.cli.demo.answers import score_answerer, train_answerer, train_blind
from vlm.cli.demo.captions import score_captioner, train_captioner, write_page
from vlm.data.folders import list_images
from vlm.data.world import World
from vlm.errors import InputError
from vlm.extract import Extraction
from vlm.files import write_json
from vlm.formats.image_list import listed
from vlm.models.backbone import FrozenBackbone
from vlm.training.eyes import train_eyes

SPLITS = {"train": 6000, "val": 150, "test": 300, "test_seen": 300}
TASKS = ("captioning", "vqa")
MINUTES = {"captioning": 3, "vqa": 6, "both": 7}


def main(verb: str, arguments: Sequence[str]) -> None:
    """Runs the demo from the drawing to the page."""
    parser = Arguments(prog=f"vlm {verb}")
    parser.add_argument("--output", default="demo", help="folder of all that is written")
    parser.add_argument("--seed", type=int, default=0, help="of the world and the training")
    parser.add_argument("--task", choices=TASKS, help="one of the two; both when not given")
    options = parser.parse_args(arguments)
    output, begun = Path(options.output), time.monotonic()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is there already; remove it or give another --output")
    if options.seed < 0:
        raise InputError(f"expected a seed of at least 0, got {options.seed}")
    minutes = MINUTES[options.task or "both"]
    print(f"vlm demo: about {minutes} minutes on two cores; everything goes to {output}/")
    _draw_world(output, options.seed)
    summary: dict[str, Any] = {}
    print("\n3/5 a captioner: configs/demo.yaml, on features that are looked up")
    train_captioner(output, options.seed)
    if options.task != "vqa":
        summary["captioning"] = score_captioner(output)
        write_page(output, summary["captioning"])
    if options.task != "captioning":
        print("\n4/5 an answerer, which starts from the captioner: configs/demo_vqa.yaml")
        train_answerer(output, options.seed)
        print("\n5/5 what questions alone tell: the same without an image, and images shuffled")
        train_blind(output, options.seed)
        summary["vqa"] = score_answerer(output)
    summary["seconds"] = round(time.monotonic() - begun, 1)
    write_json(output / "demo.json", summary)
    _say_goodbye(output, summary)


def _draw_world(output: Path, seed: int) -> None:
    world, images = World(seed=seed), output / "world" / "images"
    print(f"\n1/5 a world of {sum(SPLITS.values())} scenes")
    with tqdm(desc="drawing", unit="image") as bar:
        world.write(output / "world", SPLITS, progress=_progress(bar))
    print("\n2/5 eyes: a small network learns colours, materials and shapes of single objects,")
    print("    no scene among them; then it is frozen")
    with tqdm(desc="eyes", unit="step") as bar:
        report = train_eyes(world, output / "eyes", progress=_progress(bar))
    print(f"    single objects right: {report.seen['object']:.0%} of combinations it learned,")
    print(f"    {report.unseen['object']:.0%} of combinations it never saw")
    backbone = FrozenBackbone(f"local-dir:{output / 'eyes'}")
    Extraction(listed(list_images(images), images), backbone, output / "features").run()


def _progress(bar: tqdm) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def _say_goodbye(output: Path, summary: Mapping[str, Any]) -> None:
    print(json.dumps(summary, indent=1))
    picture = min((output / "world" / "images").glob("test_*"))
    if "captioning" in summary:
        print(f"\npage:       {output / 'index.html'}")
        print(f"checkpoint: {output / 'checkpoint.ckpt'}")
        print(f"results:    {output / 'results.json'}, metrics: {output / 'metrics.json'}")
        print(f"next:       vlm attend {output / 'checkpoint.ckpt'} {picture}")
    if "vqa" in summary:
        print(f"\nreport:     {output / 'vqa' / 'report.html'}")
        print(f"checkpoint: {output / 'vqa.ckpt'}")
        print(f'next:       vlm answer {output / "vqa.ckpt"} {picture} "what color is the circle?"')
