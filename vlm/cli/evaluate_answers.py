"""Answers in a result file against those of people, or object questions against their labels."""

import argparse
from pathlib import Path

from vlm.cli.report import Report, provenance
from vlm.cli.selection import Selection
from vlm.cli.table import accuracy_table, answer_table
from vlm.errors import InputError
from vlm.formats.ids import Id, shown
from vlm.formats.questions import read_answers, read_object_labels, read_questions
from vlm.formats.results import ANSWERS
from vlm.metrics.polling import neither_yes_nor_no, reads_as_yes, score_yes_no
from vlm.metrics.signature import polling_signature
from vlm.metrics.vqa import VARIANTS, HumanAnswers, score_answers


def evaluate_answers(options: argparse.Namespace) -> Report:
    """VQA accuracy, overall and by kind of question."""
    listed = _human(Path(options.questions), Path(options.annotations))
    selection = Selection(options.split, options.partial)
    answers = selection.read(Path(options.results), ANSWERS, listed)
    human = {key: listed[key] for key in answers}
    variant = VARIANTS[0] if options.variant is None else options.variant
    scores = score_answers(answers, human, variant=variant)
    metrics = scores.record()
    lines = provenance(metrics, len(human), len(listed), "questions")
    records = [{"question_id": key, "accuracy": of} for key, of in scores.per_question.items()]
    return Report(metrics, records, "\n".join([answer_table(metrics), *lines]))


def evaluate_object_answers(options: argparse.Namespace) -> Report:
    """How well a model tells present objects from absent ones, as POPE asks."""
    listed = read_object_labels(Path(options.pope))
    selection = Selection(options.split, options.partial)
    answers = selection.read(Path(options.results), ANSWERS, listed)
    labels = {key: listed[key] for key in answers}
    metrics = {
        "scores": score_yes_no(answers, labels)._asdict(),
        "neither yes nor no": len(neither_yes_nor_no(answers)),
        "signature": polling_signature(labels),
        "questions": len(labels),
    }
    rows = {name: 100 * value for name, value in metrics["scores"].items()}
    lines = [f"neither yes nor no: {metrics['neither yes nor no']} (read as yes, as POPE does)"]
    lines += provenance(metrics, len(labels), len(listed), "questions")
    records = [
        {
            **{"question_id": key, "label": label, "answer": answers[key]},
            "read as": "yes" if reads_as_yes(answers[key]) else "no",
        }
        for key, label in labels.items()
    ]
    return Report(metrics, records, "\n".join([accuracy_table(rows), *lines]))


def _human(questions: Path, annotations: Path) -> dict[Id, HumanAnswers]:
    """What people answered to each question, in the order of the questions."""
    people = {row.question_id: row for row in read_answers(annotations)}
    asked = [question.question_id for question in read_questions(questions)]
    bare = [key for key in asked if key not in people]
    if bare:
        raise InputError(
            f"{annotations} has no answers to question_id {shown(bare)} of {questions}; "
            "give the annotations that belong to the questions"
        )
    return {key: HumanAnswers(*people[key][1:4]) for key in asked}
