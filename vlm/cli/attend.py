"""``vlm attend CHECKPOINT IMAGE...``: what each word looked at, as a picture and as numbers.

Of the caption that is written or given, or of the question that is asked and its answer.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm.cli.attend_page import viewed
from vlm.cli.caption import parser
from vlm.cli.photos import load, load_captioner
from vlm.data.images import ImageGeometry, image_size, load_image
from vlm.errors import InputError
from vlm.explain.curves import BY_CHANCE, chance, deletion
from vlm.explain.maps import BY_MODEL, explain, require_reduction
from vlm.explain.overlay import panel_size, strip
from vlm.explain.passages import Passage
from vlm.explain.viewer import viewer
from vlm.files import writing
from vlm.formats.word_maps import LAST, WordMaps, write_word_maps
from vlm.training.module import VisionLanguageModule

WRITTEN = (".png", ".npz")  # beside each other under one stem
PAGE = (".html",)


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes a picture an image, a page if asked; prints captions, files and the map's score."""
    options = _parser(verb).parse_args(arguments)
    if options.caption is not None and options.question is not None:
        raise InputError("--caption and --question were both given; give one of them")
    captions = options.question is None
    module = load_captioner(options) if captions else load(options, options.images)
    require_reduction(module.network, options.reduction)
    output = Path(options.output)
    looks = _looks(module, options, output)
    if not options.html:
        for _ in looks:
            pass  # written and printed as they come
        return
    alone = len(options.images) == 1
    title = Path(options.images[0]).name if alone else f"{len(options.images)} images"
    entries = (viewed(module, *look, options) for look in looks)
    text = viewer(title, entries, reduction=options.reduction)
    stem = _free(output, Path(options.images[0]).stem if alone else "index", PAGE)
    page = stem.with_name(f"{stem.name}.html")
    with writing(page) as partial:
        partial.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    print(f"page: {page}")


def _looks(
    module: VisionLanguageModule, options: argparse.Namespace, output: Path
) -> Iterator[tuple[Passage, WordMaps, dict[str, float]]]:
    """Each image's text, its maps and their deletion scores, its files being written."""
    for path in options.images:
        passage = module.passage(path, options.question, caption=options.caption)
        maps = explain(passage, options.reduction)
        output.mkdir(parents=True, exist_ok=True)
        stem = _free(output, Path(path).stem, WRITTEN)
        files = [stem.with_name(f"{stem.name}.png")]
        height, width = image_size(Path(path))
        size = panel_size((width, height))
        picture = load_image(path, ImageGeometry(size[1], size[0]))
        strip(picture, maps, same_scale=options.same_scale).save(files[0])
        if options.npz:
            files.append(stem.with_name(f"{stem.name}.npz"))
            write_word_maps(files[1], maps)
        scores = {
            options.reduction: deletion(passage, maps.map).area,
            BY_CHANCE: chance(passage).area,
        }
        print(f"{path}: {_said(maps, options.question)}")
        print("\n".join(f"  {file}" for file in files))
        own, by_chance = scores.values()
        print(f"  {options.reduction}: deletion {own:.3f}, {BY_CHANCE} {by_chance:.3f}", flush=True)
        yield passage, maps, scores


def _parser(verb: str) -> argparse.ArgumentParser:
    attend = parser(verb)
    attend.add_argument("--output", default=".", help="folder of the pictures")
    attend.add_argument("--caption", help="that is read in place of one that is written")
    attend.add_argument("--question", help="whose words and answer look, in place of a caption's")
    attend.add_argument(
        "--reduction",
        default=LAST,
        help="last (the default), mean, layer-1 and so on, layer-1-head-1 and so on, "
        + ", ".join(BY_MODEL),
    )
    attend.add_argument(
        "--same-scale", action="store_true", help="one colour means the same under all words"
    )
    attend.add_argument("--npz", action="store_true", help="writes the numbers too")
    attend.add_argument(
        "--html", action="store_true", help="writes a page to walk through the words, too"
    )
    return attend


def _said(maps: WordMaps, question: str | None) -> str:
    """The caption, or the question and its answer."""
    if question is None:
        return " ".join(maps.words)
    return f"{question} {maps.words[-1]} ({maps.probabilities[-1]:.0%})"


def _free(folder: Path, stem: str, suffixes: Sequence[str]) -> Path:
    """A path without suffix under which no such file is yet: equal stems get -2, -3, ..."""
    target, number = folder / stem, 1
    while any(target.with_name(target.name + suffix).exists() for suffix in suffixes):
        number += 1
        target = folder / f"{stem}-{number}"
    return target
