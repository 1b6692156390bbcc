"""The captioner of the demo: trained on the world, scored, and seen looking."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from vlm.baselines import reference_agreement, shuffled
from vlm.cli import trainer
from vlm.cli.demo.places import config_file, on_this_world
from vlm.cli.table import score_table
from vlm.data.images import load_image
from vlm.data.world import Scene, main_object_right
from vlm.explain.overlay import PANEL, strip
from vlm.explain.page import Entry, page
from vlm.files import read_json
from vlm.formats.captions import read_captions
from vlm.metrics import score_captions
from vlm.training.module import VisionLanguageModule

SHOWN = 24
REDUCTION = "mean"
FOOTER = (
    f"Each map is the reduction “{REDUCTION}”: the weights of cross-attention with which the word "
    "was chosen, averaged over all heads of all layers. That is evidence of where the decoder "
    "looked, not of why it chose the word: other weights can give the same word, and regions have "
    "heard of one another before the decoder looks. What a word hangs on shows when regions are "
    "taken away, as vlm attend --reduction occlusion does."
)


def train_captioner(output: Path, seed: int) -> None:
    """The training that ``vlm fit --config configs/demo.yaml`` runs, here on this folder."""
    arguments = ["--config", str(config_file("demo.yaml")), *on_this_world(output, seed)]
    trainer.run("fit", [*arguments, "--output", str(output / "fit")])
    shutil.copyfile(output / "fit" / "checkpoints" / "best.ckpt", output / "checkpoint.ckpt")


def score_captioner(output: Path) -> dict[str, float]:
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


def write_page(output: Path, scores: Mapping[str, float]) -> None:
    """The first test images with the map of every word."""
    module = VisionLanguageModule.load(output / "checkpoint.ckpt")
    samples = read_captions(output / "captions_test.json", output / "world" / "images")
    entries = []
    for sample in tqdm(samples[:SHOWN], desc="maps", unit="image"):
        maps = module.attend(sample.path, reduction=REDUCTION)
        picture = strip(load_image(sample.path), maps, panel=PANEL // 2)
        notes = [f"a reference: {sample.captions[0]}"]
        entries.append(Entry(sample.path.name, " ".join(maps.words), picture, notes))
    share = scores["CIDEr-D"] / scores["reference CIDEr-D"]
    summary = (
        f"Test scenes whose main object is a combination never seen in training. "
        f"CIDEr-D {100 * scores['CIDEr-D']:.1f}, {share:.0%} of what a reference scores."
    )
    text = page("What each word looked at", entries, summary=summary, footer=FOOTER)
    (output / "index.html").write_text(text, encoding="utf-8")
