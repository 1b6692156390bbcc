"""``vlm baseline nearest|shuffled``: the scores that a captioner has to beat."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from vlm.baselines import shuffled
from vlm.cli.arguments import Arguments
from vlm.cli.selection import Selection
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
    if options.kind == "shuffled" and options.seed < 0:
        raise InputError(f"expected a seed of at least 0, got {options.seed}")
    if options.kind == "shuffled":
        references = _references(Path(options.references))
        listed = Selection().read(Path(options.results), CAPTIONS, references)
        captions = shuffled(listed, seed=options.seed)
    else:
        references, captions = _nearest(options)
    scores = score_captions(captions, references)
    output = Path(options.output)
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
    nearest.add_argument("--backbone", help="folder or file of the backbone, if its source is gone")
    moved = kinds.add_parser("shuffled", help="a result's captions, each given to another image")
    moved.add_argument("results", help="COCO results file")
    moved.add_argument("--references", required=True, help="COCO captions file")
    moved.add_argument("--seed", type=int, default=0)
    for kind in (nearest, moved):
        kind.add_argument("--output", required=True, help="folder for results and metrics")
    return parser


def _references(file: Path) -> dict[ImageId, tuple[str, ...]]:
    return {sample.image_id: sample.captions for sample in read_captions(file, Path())}


def _nearest(
    options: argparse.Namespace,
) -> tuple[Mapping[ImageId, Sequence[str]], Mapping[ImageId, str]]:
    """References and nearest-neighbour captions of a split of a checkpoint's data."""
    from vlm.baselines import nearest_captions
    from vlm.data import CaptionData
    from vlm.extract import mean_features
    from vlm.training import checkpoint as checkpoints

    recipe = checkpoints.read(options.checkpoint)[checkpoints.SECTION]
    if recipe["data"] is None:
        raise InputError(f"{options.checkpoint} was not trained on files that it names")
    data = checkpoints.rebuild(recipe["data"], CaptionData)
    backbone = checkpoints.load_backbone(recipe, options.backbone)
    splits = [data.samples("train"), data.samples(options.split)]
    training, queries = (
        mean_features(backbone, [sample.path for sample in samples], cache=data.cache)
        for samples in splits
    )
    captions = nearest_captions(
        queries,
        training,
        [sample.captions for sample in splits[0]],
        neighbours=options.neighbours,
    )
    references = {sample.image_id: sample.captions for sample in splits[1]}
    return references, dict(zip(references, captions, strict=True))
