"""``vlm baseline nearest|shuffled``: the scores that a captioner has to beat.

Those of answers are in :mod:`vlm.cli.answer_baselines`.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm.baselines import shuffled
from vlm.cli.answer_baselines import answer_baseline
from vlm.cli.arguments import Arguments
from vlm.cli.report import check_targets
from vlm.cli.selection import read_all, result_file
from vlm.cli.table import score_table
from vlm.errors import InputError
from vlm.files import write_json
from vlm.formats.captions import read_captions
from vlm.formats.results import CAPTIONS
from vlm.metrics import score_captions

ImageId = int | str


def main(verb: str, arguments: Sequence[str]) -> None:
    """Writes ``results.json`` and ``metrics.json``, and prints the scores."""
    options = _parser(verb).parse_args(arguments)
    if options.kind.startswith("shuffled") and options.seed < 0:
        raise InputError(f"expected a seed of at least 0, got {options.seed}; 0 is usual")
    if options.kind == "nearest" and options.neighbours < 1:
        raise InputError(f"expected 1 or more neighbours, got {options.neighbours}; 20 are usual")
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"--output expected a folder to write to, got {output}; name another")
    if options.kind in ("frequent", "shuffled-images"):
        answer_baseline(options, output)
        return
    if options.kind == "shuffled":
        references, captions = _shuffled(options)
    else:
        references, captions = _nearest(options)
    scores = score_captions(captions, references)
    rows = [{"image_id": key, "caption": captions[key]} for key in references]
    write_json(output / "results.json", rows)
    write_json(output / "metrics.json", scores.record() | {"baseline": options.kind})
    print(score_table({options.kind: scores.corpus}))
    print(f"written to {output}")


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}")
    kinds = parser.add_subparsers(dest="kind", required=True)
    nearest = kinds.add_parser(
        "nearest",
        help="consensus caption of the nearest training images, on a checkpoint's features",
    )
    nearest.add_argument("checkpoint", help="whose backbone and data are used")
    nearest.add_argument("--neighbours", type=int, default=20, help="training images that vote")
    nearest.add_argument("--split", default="test", choices=("val", "test"))
    nearest.add_argument("--store", help="of vlm extract, on its features; else made in --output")
    nearest.add_argument("--backbone", help="folder or file of the backbone, if its source is gone")
    moved = kinds.add_parser("shuffled", help="a result's captions, each given to another image")
    moved.add_argument("results", help="COCO results file")
    moved.add_argument("--references", required=True, help="COCO captions file")
    moved.add_argument("--seed", type=int, default=0)
    frequent = kinds.add_parser(
        "frequent", help="to each question the most frequent answer of its type in training"
    )
    frequent.add_argument("--training_questions", required=True, help="of the training set")
    frequent.add_argument("--training_annotations", help="where the answers are apart")
    images = kinds.add_parser(
        "shuffled-images", help="a set of questions, each asked about another image, for vlm test"
    )
    images.add_argument("--images", required=True, help="folder of the images")
    images.add_argument("--image_name", help="of an image, image{image_id}.jpg say")
    images.add_argument("--seed", type=int, default=0)
    for kind in (frequent, images):
        kind.add_argument("--questions", required=True)
        kind.add_argument("--annotations", help="where the answers are apart")
    for kind in (nearest, moved, frequent, images):
        kind.add_argument("--output", required=True, help="folder for what is written")
    return parser


def _shuffled(
    options: argparse.Namespace,
) -> tuple[Mapping[ImageId, Sequence[str]], Mapping[ImageId, str]]:
    """References, and the captions of a result file, each given to another image."""
    read = [options.references, str(result_file(Path(options.results)))]
    written = [str(Path(options.output, name)) for name in ("results.json", "metrics.json")]
    for file in written:
        check_targets({"--output": file}, read)
    samples = read_captions(Path(options.references), Path())
    references = {sample.image_id: sample.captions for sample in samples}
    captions = read_all(Path(options.results), CAPTIONS, references)
    return references, shuffled(captions, seed=options.seed)


def _nearest(
    options: argparse.Namespace,
) -> tuple[Mapping[ImageId, Sequence[str]], Mapping[ImageId, str]]:
    """References and nearest-neighbour captions of a split of a checkpoint's data."""
    from vlm.baselines import mean_features, nearest_captions
    from vlm.data import CaptionData, FeatureStore
    from vlm.extract import Extraction
    from vlm.formats.image_list import ListedImage
    from vlm.training import checkpoint as checkpoints
    from vlm.training.recipe import rebuild

    recipe = checkpoints.read(options.checkpoint)[checkpoints.SECTION]
    if recipe["data"] is None:
        raise InputError(f"{options.checkpoint} was not trained on files that it names")
    recipe["data"]["init_args"]["store"] = None
    data = rebuild(recipe["data"], CaptionData)
    splits = [data.samples("train"), data.samples(options.split)]
    if options.store is None:
        backbone = checkpoints.load_backbone(recipe, options.backbone)
        paths = {str(sample.path): sample.path for samples in splits for sample in samples}
        images = [ListedImage(key, key, path) for key, path in paths.items()]
        store = Extraction(images, backbone, Path(options.output) / "features").run()
        rows = [[store.row(str(sample.path)) for sample in samples] for samples in splits]
    else:
        store = FeatureStore(options.store)
        trained = recipe["backbone"]
        name = trained["init_args"]["name"]
        store.require(name, trained["hash"], store.manifest.geometry)
        checkpoints.check_boxes(store, recipe)
        rows = [data.rows(store, "train"), data.rows(store, options.split)]
    training, queries = (mean_features(store, part) for part in rows)
    captions = nearest_captions(
        queries,
        training,
        [sample.captions for sample in splits[0]],
        neighbours=options.neighbours,
    )
    references = {sample.image_id: sample.captions for sample in splits[1]}
    return references, dict(zip(references, captions, strict=True))
