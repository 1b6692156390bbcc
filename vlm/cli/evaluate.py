"""``vlm evaluate``: captions or answers in a result file, scored as the official programs do."""

import argparse
from collections.abc import Sequence

from vlm.cli.arguments import Arguments
from vlm.cli.report import Report
from vlm.errors import InputError

NEEDS = "--references FILE for captions, --questions FILE and --annotations FILE for answers"


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints the scores of a result file and writes them where asked."""
    options = _parser(verb).parse_args(arguments)
    report = _evaluate(options)
    report.write(output=options.output, per_image=options.per_image)


def _evaluate(options: argparse.Namespace) -> Report:
    given = (options.references, options.questions or options.annotations, options.pope)
    if sum(map(bool, given)) != 1:
        raise InputError(f"expected {NEEDS}, or --pope FILE for object questions, and one of these")
    if options.synonyms and not options.instances:
        raise InputError("--synonyms is for CHAIR, which needs --instances FILE; give both")
    if options.references:
        from vlm.cli.evaluate_captions import evaluate_captions

        return evaluate_captions(options)
    from vlm.cli.evaluate_answers import evaluate_answers, evaluate_object_answers

    if options.pope:
        return evaluate_object_answers(options)
    if not (options.questions and options.annotations):
        raise InputError(f"expected both --questions and --annotations; got one; {NEEDS}")
    return evaluate_answers(options)


def _parser(verb: str) -> Arguments:
    parser = Arguments(prog=f"vlm {verb}", description=__doc__)
    parser.add_argument(
        "results",
        help="COCO or VQA results (.json, .jsonl, also .gz), or the per-sample file of "
        "lmms-eval (.jsonl) or VLMEvalKit (.xlsx, .tsv)",
    )
    parser.add_argument("--split", metavar="FILE", help="ids to score, one a line or a JSON list")
    parser.add_argument("--partial", action="store_true", help="score the ids both sides have")
    parser.add_argument("--output", metavar="FILE", help="JSON of all scores")
    parser.add_argument("--per-image", metavar="FILE", help="JSON lines, one an image or question")
    captions = parser.add_argument_group("captions")
    captions.add_argument("--references", metavar="FILE", help="COCO captions JSON, or JSON lines")
    captions.add_argument(
        "--metrics",
        metavar="NAMES",
        help="of BLEU,ROUGE-L,CIDEr-D,CIDEr,METEOR,SPICE; the first three by default",
    )
    captions.add_argument(
        "--frequencies", metavar="FILE", help="captions whose document frequencies CIDEr takes"
    )
    captions.add_argument(
        "--training", metavar="FILE", help="training captions: what is novel, what is unknown"
    )
    captions.add_argument("--instances", metavar="FILE", help="COCO instances: CHAIR too")
    captions.add_argument("--synonyms", metavar="FILE", help="CHAIR's names of objects, not ours")
    answers = parser.add_argument_group("answers")
    answers.add_argument("--questions", metavar="FILE", help="VQA questions JSON")
    answers.add_argument("--annotations", metavar="FILE", help="VQA annotations JSON")
    answers.add_argument(
        "--variant",
        default="official-2021",
        help="whose rules: official-2021 (default), official-2016 or mmf",
    )
    answers.add_argument("--pope", metavar="FILE", help="object questions with labels, JSON lines")
    return parser
