"""``vlm demo``: a world drawn, a captioner trained on it, scored, and seen looking."""

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

import vlm
from vlm.baselines import reference_agreement, shuffled
from vlm.cli import trainer
from vlm.cli.arguments import Arguments
from vlm.cli.table import score_table
from vlm.data.folders import list_images
from vlm.data.images import load_image
from vlm.data.world import Scene, World, main_object_right
from vlm.errors import InputError
from vlm.explain.overlay import strip
from vlm.explain.page import Entry, page
from vlm.extract import Extraction
from vlm.files import read_json, write_json
from vlm.formats.captions import read_captions
from vlm.formats.image_list import listed
from vlm.metrics import score_captions
from vlm.models.backbone import FrozenBackbone
from vlm.training.captioning import CaptioningModule
from vlm.training.eyes import train_eyes

SPLITS = {"train": 3000, "val": 150, "test": 300, "test_seen": 300}
SHOWN = 24
MINUTES = 3


def main(verb: str, arguments: Sequence[str]) -> None:
    """Runs the demo from the drawing to the page."""
    parser = Arguments(prog=f"vlm {verb}")
    parser.add_argument("--output", default="demo", help="folder of all that is written")
    parser.add_argument("--seed", type=int, default=0, help="of the world and the training")
    options = parser.parse_args(arguments)
    output, begun = Path(options.output), time.monotonic()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} is there already; remove it or give another --output")
    if options.seed < 0:
        raise InputError(f"expected a seed of at least 0, got {options.seed}")
    print(f"vlm demo: about {MINUTES} minutes on two cores; everything goes to {output}/")
    _draw_world(output, options.seed)
    _train(output, options.seed)
    print("\n4/5 captions of unseen scenes, scored")
    scores = _score(output)
    print("\n5/5 what each word looked at")
    _write_page(output, scores)
    summary = {"captioning": scores, "seconds": round(time.monotonic() - begun, 1)}
    write_json(output / "demo.json", summary)
    _say_goodbye(output, summary)


def config_file(name: str) -> Path:
    """A YAML of ``configs/``, from the checkout or from the installed package."""
    package = Path(vlm.__file__).parent
    folders = (package.parent / "configs", package / "configs")
    return next((folder / name for folder in folders if (folder / name).is_file()), Path(name))


def _draw_world(output: Path, seed: int) -> None:
    world = World(seed=seed)
    print(f"\n1/5 a world of {sum(SPLITS.values())} scenes, and eyes for it")
    with tqdm(desc="drawing", unit="image") as bar:
        world.write(output / "world", SPLITS, progress=_progress(bar))
    print("\n2/5 eyes: a small network learns colours, materials and shapes of single objects,")
    print("    no scene among them; then it is frozen")
    with tqdm(desc="eyes", unit="step") as bar:
        report = train_eyes(world, output / "eyes", progress=_progress(bar))
    print(f"    single objects right: {report.seen['object']:.0%} of combinations it learned,")
    print(f"    {report.unseen['object']:.0%} of combinations it never saw")


def _progress(bar: tqdm) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def _train(output: Path, seed: int) -> None:
    """The training that ``vlm fit --config configs/demo.yaml`` runs, here on this folder."""
    print("\n3/5 training the captioner: configs/demo.yaml, on features that are looked up")
    backbone = FrozenBackbone(f"local-dir:{output / 'eyes'}")
    folder = output / "world" / "images"
    Extraction(listed(list_images(folder), folder), backbone, output / "features").run()
    arguments = ["--config", str(config_file("demo.yaml")), "--seed_everything", str(seed)]
    arguments += ["--model.backbone.name", f"local-dir:{output / 'eyes'}"]
    arguments += ["--data.root", str(output / "world")]
    arguments += ["--data.store.init_args.path", str(output / "features")]
    trainer.run("fit", [*arguments, "--output", str(output / "fit")])
    shutil.copyfile(output / "fit" / "checkpoints" / "best.ckpt", output / "checkpoint.ckpt")


def _score(output: Path) -> dict[str, float]:
    """Tests on both splits, and what the same captions score when shuffled."""
    checkpoint = str(output / "checkpoint.ckpt")
    seen_file = output / "world" / "captions_test_seen.json"
    trainer.run("test", ["--ckpt_path", checkpoint, "--output", str(output)])
    seen = ["--data.annotations", str(seen_file.resolve()), "--output", str(output / "seen")]
    trainer.run("test", ["--ckpt_path", checkpoint, *seen])
    file = output / "world" / "captions_test.json"
    shutil.copyfile(file, output / "captions_test.json")
    references = {s.image_id: s.captions for s in read_captions(file, Path())}
    captions = _captions(output)
    corpus = score_captions(captions, references).corpus
    moved = score_captions(shuffled(captions), references).corpus
    humans = reference_agreement(references)
    print(score_table({"captioner": corpus, "a reference": humans, "images shuffled": moved}))
    return {
        "CIDEr-D": corpus["CIDEr-D"],
        "reference CIDEr-D": humans["CIDEr-D"],
        "shuffled CIDEr-D": moved["CIDEr-D"],
        "main object right, seen": _right(_captions(output / "seen"), seen_file),
        "main object right, unseen": _right(captions, file),
    }


def _captions(folder: Path) -> dict[int | str, str]:
    return {row["image_id"]: row["caption"] for row in read_json(folder / "results.json")}


def _right(captions: Mapping[int | str, str], file: Path) -> float:
    """Share of captions whose main object has its colour, material and shape, in [0, 1]."""
    images = read_json(file)["images"]
    scenes = {image["id"]: Scene.from_record(image["scene"]) for image in images}
    right = [main_object_right(captions[key], scene) for key, scene in scenes.items()]
    return sum(right) / len(right)


def _write_page(output: Path, scores: Mapping[str, float]) -> None:
    """The first test images with the map of every word."""
    module = CaptioningModule.load(output / "checkpoint.ckpt")
    samples = read_captions(output / "captions_test.json", output / "world" / "images")
    entries = []
    for sample in tqdm(samples[:SHOWN], desc="maps", unit="image"):
        maps = module.attend(sample.path)
        picture = strip(load_image(sample.path), maps)
        notes = [f"a reference: {sample.captions[0]}"]
        entries.append(Entry(sample.path.name, " ".join(maps.words), picture, notes))
    share = scores["CIDEr-D"] / scores["reference CIDEr-D"]
    summary = (
        f"Test scenes whose main object is a combination never seen in training. "
        f"CIDEr-D {100 * scores['CIDEr-D']:.1f}, {share:.0%} of what a reference scores."
    )
    text = page("What each word looked at", entries, summary=summary)
    (output / "index.html").write_text(text, encoding="utf-8")


def _say_goodbye(output: Path, summary: Mapping[str, object]) -> None:
    print(json.dumps(summary, indent=1))
    print(f"\npage:       {output / 'index.html'}")
    print(f"checkpoint: {output / 'checkpoint.ckpt'}")
    print(f"results:    {output / 'results.json'}, metrics: {output / 'metrics.json'}")
    picture = min((output / "world" / "images").glob("test_*"))
    print(f"next:       vlm attend {output / 'checkpoint.ckpt'} {picture}")
