"""``vlm baseline frequent|shuffled-images``: what a model that answers questions has to beat."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from vlm.baselines import frequent_answers, shuffled_images
from vlm.cli.table import answer_table
from vlm.errors import InputError
from vlm.files import write_json
from vlm.formats.ids import shown
from vlm.formats.question_sets import QuestionSample, read_question_samples
from vlm.metrics.vqa import human_answers, score_answers


def answer_baseline(options: argparse.Namespace, output: Path) -> None:
    """Runs one of the two and says where it wrote."""
    if options.kind == "frequent":
        _frequent(options, output)
    else:
        _shuffled_images(options, output)
    print(f"written to {output}")


def _frequent(options: argparse.Namespace, output: Path) -> None:
    """``answers.json`` and ``metrics.json`` of the most frequent answer per question type."""
    training = _read(options.training_questions, options.training_annotations)
    samples = _read(options.questions, options.annotations)
    answers = frequent_answers(training, samples)
    human = human_answers(samples)
    bare = [key for key in answers if key not in human]
    if bare:
        raise InputError(
            f"{options.questions} has questions without answers ({shown(bare)}); name their file "
            "as --annotations"
        )
    scores = score_answers(answers, human)
    rows = [{"question_id": key, "answer": answer} for key, answer in answers.items()]
    write_json(output / "answers.json", rows)
    write_json(output / "metrics.json", scores.record() | {"baseline": options.kind})
    print(answer_table(scores.record()))


def _shuffled_images(options: argparse.Namespace, output: Path) -> None:
    """A set whose questions are about other images."""
    folder = Path(options.images)
    samples = _read(options.questions, options.annotations, folder, options.image_name)
    write_shuffled(samples, folder, output, seed=options.seed)


def write_shuffled(
    samples: Sequence[QuestionSample], folder: Path, output: Path, *, seed: int = 0
) -> None:
    """Writes questions, each about another image, and their answers, in VQA v2's format.

    Args:
        samples: of a split.
        folder: of the images.
        output: gets ``questions.json`` and, where there are answers, ``annotations.json``.
        seed: of the order.
    """
    moved = shuffled_images(samples, seed=seed)
    asked = [(sample.image_id, question) for sample in moved for question in sample.questions]
    images = [
        {"id": sample.image_id, "file_name": os.path.relpath(sample.path, folder)}
        for sample in moved
    ]
    questions = [
        {"question_id": q.question_id, "image_id": image_id, "question": q.text}
        for image_id, q in asked
    ]
    annotations = [
        {
            "question_id": q.question_id,
            "image_id": image_id,
            "question_type": q.question_type,
            "answer_type": q.answer_type,
            "multiple_choice_answer": q.answer,
            "answers": [{"answer": answer} for answer in q.answers],
        }
        for image_id, q in asked
        if q.answers
    ]
    write_json(output / "questions.json", {"images": images, "questions": questions})
    if annotations:
        write_json(output / "annotations.json", {"annotations": annotations})


def _read(
    questions: str, annotations: str | None, folder: Path = Path(), name: str | None = None
) -> list[QuestionSample]:
    answers = None if annotations is None else Path(annotations)
    return read_question_samples(Path(questions), answers, folder, image_name=name)
