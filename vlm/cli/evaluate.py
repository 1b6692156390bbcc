"""``vlm evaluate``: captions or answers in a result file, scored as the official programs do.

With ``--grounding``, maps of words (.npz) in a folder against the masks of what the words name.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vlm.cli.arguments import Arguments
from vlm.cli.report import Report, check_targets
from vlm.errors import InputError


class Kind(NamedTuple):
    """A kind of evaluation.

    Attributes:
        name: what is scored.
        files: the options that ask for it, all of them.
        options: what else belongs to it and not to all kinds.
    """

    name: str
    files: tuple[str, ...]
    options: tuple[str, ...] = ()


CAPTIONS = Kind(
    "captions",
    ("references",),
    ("metrics", "frequencies", "training", "instances", "synonyms"),
)
ANSWERS = Kind("answers", ("questions", "annotations"), ("variant",))
OBJECTS = Kind("object questions", ("pope",))
MAPS = Kind("maps of words", ("grounding",), ("instances", "synonyms"))
KINDS = (CAPTIONS, ANSWERS, OBJECTS, MAPS)


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints the scores of a result file, or of maps, and writes them where asked."""
    options = _parser(verb).parse_args(arguments)
    kind = _kind(options)
    _check_scored(options, kind)
    files = (*kind.files, "split", "frequencies", "training", "instances", "synonyms")
    scored = Path(options.grounding if kind is MAPS else options.results)
    inside = scored.glob("*.npz") if kind is MAPS else [scored / "results.json"]
    read = [str(scored), *map(str, inside), *_given(options, files).values()]
    targets = {"--output": options.output, "--per-image": options.per_image}
    check_targets(targets, read)
    _evaluate(options, kind).write(output=options.output, per_image=options.per_image)


def _evaluate(options: argparse.Namespace, kind: Kind) -> Report:
    if kind is CAPTIONS:
        from vlm.cli.evaluate_captions import evaluate_captions

        return evaluate_captions(options)
    if kind is MAPS:
        from vlm.cli.evaluate_grounding import evaluate_grounding

        return evaluate_grounding(options)
    from vlm.cli.evaluate_answers import evaluate_answers, evaluate_object_answers

    return evaluate_answers(options) if kind is ANSWERS else evaluate_object_answers(options)


def _kind(options: argparse.Namespace) -> Kind:
    """The kind that is asked for, once all options are known to belong to it."""
    asked = {kind: _named(_given(options, kind.files)) for kind in KINDS}
    asked = {kind: names for kind, names in asked.items() if names}
    if not asked:
        needs = ", ".join(f"{_named(kind.files)} for {kind.name}" for kind in KINDS)
        raise InputError(f"expected one kind of references, got none; give {needs}")
    if len(asked) > 1:
        several = ", ".join(f"{names} for {kind.name}" for kind, names in asked.items())
        raise InputError(f"expected one kind of references, got several, {several}; choose one")
    (kind,) = asked
    foreign = [
        (name, other)
        for other in KINDS
        for name in _given(options, other.options)
        if name not in kind.options
    ]
    if foreign:
        name, other = foreign[0]
        raise InputError(
            f"--{name} belongs to {other.name} ({_named(other.files)}) and not to {kind.name} "
            f"({_named(kind.files)}); leave it out"
        )
    lacking = [name for name in kind.files if name not in _given(options, kind.files)]
    if lacking:
        raise InputError(f"expected {_named(kind.files)}, got no {_named(lacking)}; give both")
    if options.synonyms is not None and options.instances is None and kind is CAPTIONS:
        raise InputError("--synonyms is for CHAIR, which needs --instances FILE; give both")
    return kind


def _check_scored(options: argparse.Namespace, kind: Kind) -> None:
    """Holds that there are results to score, or maps with the masks that they are scored by."""
    if kind is not MAPS:
        if options.results is None:
            raise InputError(
                f"expected a file of results to score by {_named(kind.files)}, got none; "
                "give one, or the folder of a run"
            )
        return
    if options.instances is None:
        raise InputError(
            "expected --grounding and --instances, got no --instances; give both, the masks being "
            "in a COCO instances file"
        )
    idle = {"a file of results": options.results, "--split": options.split}
    idle["--partial"] = options.partial or None
    for name, value in idle.items():
        if value is not None:
            raise InputError(
                f"--grounding scores all maps in {options.grounding}, and got {name} as well; "
                "leave it out"
            )


def _given(options: argparse.Namespace, names: Sequence[str]) -> dict[str, str]:
    """The options among those named that were given."""
    values = {name: getattr(options, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _named(names: Sequence[str] | dict[str, str]) -> str:
    return " and ".join(f"--{name}" for name in names)


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}", description=__doc__)
    parser.add_argument(
        "results",
        nargs="?",
        help="COCO or VQA results (.json, .jsonl, also .gz), the per-sample file of lmms-eval "
        "(.jsonl) or VLMEvalKit (.xlsx, .tsv), or the folder of a run, with its results.json",
    )
    parser.add_argument(
        "--split",
        metavar="FILE",
        help="ids to score: one a line, a JSON list, or a COCO or VQA file of the part",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score the ids that both sides have, and say of how many",
    )
    parser.add_argument("--output", metavar="FILE", help="JSON of all scores")
    parser.add_argument(
        "--per-image", metavar="FILE", help="JSON lines, one an image, question or word"
    )
    captions = parser.add_argument_group("captions")
    captions.add_argument("--references", metavar="FILE", help="COCO captions JSON, or JSON lines")
    captions.add_argument(
        "--metrics",
        metavar="NAMES",
        help="of BLEU (or BLEU-1 to BLEU-4), ROUGE-L, CIDEr-D, CIDEr, METEOR and SPICE, parted by "
        "commas; the first three by default",
    )
    captions.add_argument(
        "--frequencies", metavar="FILE", help="captions whose document frequencies CIDEr takes"
    )
    captions.add_argument(
        "--training", metavar="FILE", help="training captions: what is novel, what is unknown"
    )
    captions.add_argument(
        "--instances", metavar="FILE", help="COCO instances: CHAIR too; masks for --grounding"
    )
    captions.add_argument(
        "--synonyms",
        metavar="FILE",
        help="names of objects for CHAIR and --grounding, not ours: lines of 'class, synonym, "
        "synonym', one for every class of the instances",
    )
    answers = parser.add_argument_group("answers")
    answers.add_argument("--questions", metavar="FILE", help="VQA questions JSON")
    answers.add_argument("--annotations", metavar="FILE", help="VQA annotations JSON")
    answers.add_argument(
        "--variant", help="whose rules: official-2021 (default), official-2016 or mmf"
    )
    objects = parser.add_argument_group("object questions")
    objects.add_argument("--pope", metavar="FILE", help="questions with labels, JSON lines")
    maps = parser.add_argument_group("maps of words")
    maps.add_argument(
        "--grounding",
        metavar="MAPS_DIR",
        help="folder of what vlm attend --npz writes: whether maps look where the --instances are",
    )
    return parser
