"""Files and folders that somebody has: what each is, what it holds, and whether it can be used."""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlm.cli.doctor.backbone import examine_backbone, weight_file
from vlm.cli.doctor.config import examine_config
from vlm.cli.doctor.finding import Finding, fail, ok, warn
from vlm.cli.doctor.prepared import examine_prepared, is_prepared
from vlm.cli.doctor.store import examine_store, is_store
from vlm.data.folders import SUFFIXES, list_images
from vlm.data.images import check_image, check_images
from vlm.disk import in_words
from vlm.files import read_json, read_lines
from vlm.formats import kinds
from vlm.formats.captions import CaptionSample, read_captions
from vlm.formats.ids import shown
from vlm.formats.image_list import read_image_list
from vlm.formats.instances import read_objects
from vlm.formats.questions import read_answers, read_questions
from vlm.models.timm_source import LOCAL_DIR
from vlm.training import checkpoint as checkpoints

PACKED = b"PK\x03\x04"  # what torch.save writes is a zip archive
RESULTS = "a list of results"


def examine_path(path: Path, *, images: Path | None, full: bool) -> Iterator[Finding]:
    """Whatever is at a path, recognised by what it is.

    Args:
        path: of a file or a folder.
        images: folder of the images that an annotation file names; they are not looked for
            when not given.
        full: whether all bytes are read.

    Raises:
        InputError: if it cannot be used.
    """
    if path.is_dir():
        yield from _folder(path, full=full)
    elif not path.is_file():
        near = [other.name for other in path.parent.glob("*")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, n=1)
        yield fail(path, "does not exist", f"did you mean {close[0]}?" if close else "check it")
    elif path.suffix.lower() in SUFFIXES:
        check_image(path)
        yield ok(path, "an image that can be read")
    elif path.suffix in (".yaml", ".yml"):
        yield from examine_config([path], full=full)
    elif path.suffix == ".ckpt" or _starts_with(path, PACKED):
        yield from _checkpoint(path, full=full)
    elif path.name.removesuffix(".gz").endswith(".jsonl"):
        yield from _lines(path, images)
    else:
        yield from _json(path, images)


def _folder(path: Path, *, full: bool) -> Iterator[Finding]:
    if is_store(path):
        yield from examine_store(path, full=full)
    elif is_prepared(path):
        yield from examine_prepared(path, full=full)
    elif (path / "config.json").is_file():
        description = {"class_path": "", "init_args": {"name": f"{LOCAL_DIR}{path}"}}
        yield examine_backbone(path, description, way_out="write it by timm.models.save_for_hf")
    elif checkpoints_of_run := sorted((path / "checkpoints").glob("*.ckpt")):
        for checkpoint in checkpoints_of_run:
            yield from _checkpoint(checkpoint, full=full)
    elif any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
        photos = list_images(path)
        check_images(photos, origin=str(path))
        size = sum(photo.stat().st_size for photo in photos)
        yield ok(path, f"{len(photos):,} images, {in_words(size)}; all can be read")
    else:
        told = "is no store, prepared set, run or backbone, and holds no image"
        yield fail(path, told, "name one of these, or a file")


def _starts_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(start)) == start and path.suffix not in (".xlsx", ".zip")


# --- Checkpoints -----------------------------------------------------------------------------


def _checkpoint(path: Path, *, full: bool) -> Iterator[Finding]:
    content = checkpoints.read(path)
    recipe = content[checkpoints.SECTION]
    task, description = recipe["task"].rpartition(".")[2], recipe["backbone"]
    yield ok(
        path,
        f"a checkpoint of {task} (format {recipe['format']}, vlm {recipe['version']}) after "
        f"{content['epoch'] + 1} epochs, {content['global_step']:,} steps; it looks with "
        f"{description['init_args']['name']!r} ({description['hash']})",
    )
    if recipe["backbone_weights"] is not None:
        yield ok(path, "the weights of its backbone travel in it")
        return
    here = examine_backbone(path, description, way_out="give them with --backbone PATH")
    if here.status == "ok" and full:
        # A fetched file stands in for the name, so that the network is not asked.
        file = weight_file(description["init_args"])
        fetched = (
            file if file and not description["init_args"]["name"].startswith(LOCAL_DIR) else ""
        )
        checkpoints.load_backbone(recipe, str(fetched) or None)
        here = ok(path, "its backbone is here and has the weights that it was trained with")
    yield here


# --- Annotations -----------------------------------------------------------------------------


def _lines(path: Path, images: Path | None) -> Iterator[Finding]:
    _, row = next(read_lines(path, by_name=True), (0, None))
    if isinstance(row, dict) and "image" not in row and {"question_id", "image_id"} & row.keys():
        yield _left_to_evaluate(path)
    else:
        yield from _captions(path, images)


def _json(path: Path, images: Path | None) -> Iterator[Finding]:
    tree = read_json(path, by_name=True)
    kind = kinds.kind_of(tree)
    lists_images = isinstance(tree, dict) and "images" in tree
    del tree  # the readers below make their own, and a large one should not be there twice
    if kind == kinds.INSTANCES:
        yield from _objects(path, images)
    elif kind == kinds.QUESTIONS:
        questions = read_questions(path)
        about = len({question.image_id for question in questions})
        yield ok(path, f"{len(questions):,} questions about {about:,} images")
    elif kind == kinds.ANSWERS:
        counts = [len(answers.texts) for answers in read_answers(path)]
        told = f"the answers to {len(counts):,} questions, {_least_and_most(counts)} a question"
        yield ok(path, told)
    elif kind == RESULTS:
        yield _left_to_evaluate(path)
    elif kind == kinds.CAPTIONS or lists_images:
        yield from _captions(path, images)
    else:
        told = f"is {kind or 'an object'}, no file of captions, objects, questions or answers"
        yield fail(path, told, "see vlm doctor --help for what can be given")


def _left_to_evaluate(path: Path) -> Finding:
    return warn(path, f"{RESULTS}, which is not looked into here", "vlm evaluate checks it")


def _captions(path: Path, images: Path | None) -> Iterator[Finding]:
    samples = read_captions(path, images or Path())
    yield told_of(path, samples)
    if images is not None:
        yield _images_there(path, [sample.path for sample in samples], images)


def told_of(path: object, samples: Sequence[CaptionSample]) -> Finding:
    """What a file of captions holds, and what of it a training would refuse."""
    counts = [len(sample.captions) for sample in samples]
    if not any(counts):
        return ok(path, f"{len(samples):,} images without captions, for vlm predict")
    told = f"{len(samples):,} images, {sum(counts):,} captions, {_least_and_most(counts)} an image"
    empty = [one.image_id for one in samples if not all(map(str.strip, one.captions))]
    if empty:
        remedy = "write them or remove them, no training takes these"
        return fail(path, f"{told}; captions of images {shown(empty)} are empty", remedy)
    bare = [sample.image_id for sample in samples if not sample.captions]
    if bare:
        remedy = "write one each for training, or use predict"
        return warn(path, f"{told}; {len(bare)} images have none ({shown(bare)})", remedy)
    return ok(path, told)


def _objects(path: Path, images: Path | None) -> Iterator[Finding]:
    objects = read_objects(path)
    bare = sum(not names for names in objects.values())
    kinds_of_objects = len({name for names in objects.values() for name in names})
    told = f"objects of {kinds_of_objects} categories in {len(objects):,} images, none in {bare:,}"
    yield ok(path, told)
    if images is not None:
        listed = read_image_list(path, images)
        yield _images_there(path, [image.path for image in listed], images)


def _images_there(path: Path, files: Sequence[Path], folder: Path) -> Finding:
    if not folder.is_dir():
        return fail(path, f"its image folder {folder} does not exist", "correct --images")
    check_images(files, origin=str(path))
    return ok(path, f"all {len(files):,} images are in {folder} and can be read")


def _least_and_most(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{most}" if least == most else f"{least} to {most}"
