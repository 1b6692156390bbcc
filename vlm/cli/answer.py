"""``vlm answer CHECKPOINT IMAGE QUESTION...``: answers to questions about a photo."""

import argparse
import json
import sys
from collections.abc import Sequence

import torch

from vlm.cli.photos import load, parser
from vlm.errors import InputError
from vlm.training.answer_task import AnswerTask, BestAnswers


def main(verb: str, arguments: Sequence[str]) -> None:
    """Prints one line a question, in the order given."""
    answer = parser(verb)
    answer.add_argument("image", help="image file")
    answer.add_argument("questions", nargs="+", metavar="question", help="about the image")
    answer.add_argument("--top", type=int, default=5, help="answers that are shown")
    answer.add_argument("--json", action="store_true", help="one JSON object a line")
    answer.add_argument(
        "--abstain", type=float, metavar="PROBABILITY", help="no answer is given below it"
    )
    options = answer.parse_args(arguments)
    _check(options)
    module = load(options, [options.image])
    task = module.answering
    for question in options.questions:
        task.require(question)
    for warning in warnings_of(task, options.questions):
        print(f"vlm: warning: {warning}", file=sys.stderr)
    with torch.inference_mode():
        memory = module.network.encode(module.look_at([options.image]))
    answered = task.answer(memory, [options.questions], shown=options.top)
    for question, result in zip(options.questions, answered, strict=True):
        print(_line(question, result, options), flush=True)


def warnings_of(task: AnswerTask, questions: Sequence[str]) -> list[str]:
    """What of the questions the model does not read, a sentence each."""
    tokenizer, warnings = task.tokenizer, []
    for question, ids in zip(questions, tokenizer.encode(questions, max_length=10**6), strict=True):
        unknown = ids.count(tokenizer.unknown)
        if unknown:
            words = "1 word" if unknown == 1 else f"{unknown} words"
            warnings.append(f"{words} of {question!r} the model does not know")
        cut = len(ids) - task.longest
        if cut > 0:
            warnings.append(f"{question[:40]!r}... is longer than it reads; {cut} tokens are cut")
    return warnings


def _check(options: argparse.Namespace) -> None:
    if options.top < 1:
        raise InputError(f"--top expected 1 or more answers, got {options.top}")
    if options.abstain is not None and not 0 <= options.abstain <= 1:
        raise InputError(f"--abstain expected a probability in [0, 1], got {options.abstain}")


def _line(question: str, result: BestAnswers, options: argparse.Namespace) -> str:
    """A result for a program or for people."""
    pairs = list(zip(result.answers, result.probabilities, strict=True))[: options.top]
    abstains = options.abstain is not None and pairs[0][1] < options.abstain
    if options.json:
        answers = [{"answer": answer, "probability": likely} for answer, likely in pairs]
        row = {"image": options.image, "question": question, "answers": answers}
        return json.dumps(row | ({"abstained": True} if abstains else {}), ensure_ascii=False)
    shown = ", ".join(f"{answer} ({likely:.0%})" for answer, likely in pairs)
    if abstains:
        return f"{question} (no answer: {shown})"
    return f"{question} {shown}"
