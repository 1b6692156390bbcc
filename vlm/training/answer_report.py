"""What people look at after a test of answers: accuracies, calibration, confident mistakes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vlm.data.images import load_image
from vlm.errors import InputError
from vlm.explain.page import Entry, Figure, Gallery, Heading, Part, Table, page
from vlm.explain.reliability import reliability_picture
from vlm.files import writing
from vlm.formats.ids import Id
from vlm.metrics.calibration import Bin
from vlm.metrics.vqa import rounded

MISTAKES = 24
WIDEST = 320
"""Pixels: the width of a photo at most, and half its height at most."""
KEPT = "\N{NO-BREAK SPACE}"
FOOTER = (
    "An answer is the righter the more people gave it, and wholly right if four of ten did. Its "
    "confidence is the probability that the model gives it."
)


def write_answer_report(
    folder: Path,
    record: Mapping[str, Any],
    results: Sequence[Any],
    accuracy: Mapping[Id, float],
    samples: Sequence[Any],
) -> None:
    """Writes ``report.html``, one file that needs no network, and ``reliability.png``.

    Args:
        folder: where to; it is made.
        record: of the test, what ``metrics.json`` holds: scores, question types, questions,
            answers, ceiling, calibration, abstention.
        results: with question_id, answers and probabilities, the best answer first; those
            without an accuracy are left out.
        accuracy: of each question, in per cent.
        samples: of the split, with the path of the image and its questions. Photos that are
            missing or damaged are named instead of shown.

    Raises:
        OSError: naming the file that cannot be written.
    """
    bins = [Bin(**row) for row in record["calibration"]["bins"]]
    error = record["calibration"]["expected calibration error"]
    picture = reliability_picture(bins, error=error)
    asked = {q.question_id: (sample.path, q) for sample in samples for q in sample.questions}
    questions = [asked[key][1] for key in accuracy]
    parts: list[Part] = [
        *_accuracies(record, questions),
        *_calibration(bins, picture, record["calibration"]["temperature"]),
        _abstention(record["abstention"]),
        *_mistakes(results, accuracy, asked),
    ]
    summary = (
        f"Accuracy {_two(record['scores']['overall'])} % on {_counted(len(accuracy), 'question')}; "
        f"{_counted(record['answers'], 'answer')} can earn {_two(record['ceiling'])} % at most. "
        f"Expected calibration error {100 * error:.1f} %."
    )
    text = page("Answers, and how sure they are", parts, summary=summary, footer=FOOTER)
    with writing(folder / "reliability.png") as partial:
        picture.save(partial, format="PNG")
    with writing(folder / "report.html") as partial:
        # A file name that is no UTF-8, or half a pair in a question, must not cost the report.
        partial.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")


def _accuracies(record: Mapping[str, Any], questions: Sequence[Any]) -> list[Part]:
    """Tables by type of answer and of question; none by question where no set names them."""
    kinds = Counter(question.answer_type for question in questions)
    kinds["overall"] = len(questions)
    types = Counter(question.question_type for question in questions)
    tables: list[Part] = []
    for name, scores, counts in (
        ("answer type", record["scores"], kinds),
        ("question type", record["question types"], types),
    ):
        rows = [
            (kind or "not given", f"{counts[kind]:,}", _two(score))
            for kind, score in scores.items()
            if kind or counts[kind] < len(questions)  # where none has a type, that says nothing
        ]
        if rows:
            tables.append(Table(f"Accuracy by {name}", (name, "questions", "accuracy, %"), rows))
    return tables


def _calibration(bins: Sequence[Bin], picture: Image.Image, temperature: float) -> list[Part]:
    """The picture, and the same in numbers."""
    rows = [
        (
            f"{each.low:.2f} to {each.high:.2f}",
            f"{each.count:,}",
            f"{each.confidence:.3f}",
            f"{each.accuracy:.3f}",
        )
        for each in bins
    ]
    columns = ("confidence", "questions", "mean confidence", "mean accuracy")
    return [
        Heading("Calibration", f"Scores were divided by a temperature of {temperature:.2f}."),
        Figure(picture, "reliability diagram: accuracy by confidence, as the table has it"),
        Table("Accuracy by confidence", columns, rows),
    ]


def _abstention(rows: Sequence[Mapping[str, float]]) -> Table:
    """What each threshold of ``--abstain`` costs, and what it brings."""
    columns = ("withheld below", "answered, %", "accuracy of those, %")
    shares = [
        (f"{row['threshold']:.1f}", _two(100 * row["coverage"]), _two(100 * row["accuracy"]))
        for row in rows
    ]
    return Table("Unsure answers withheld", columns, shares)


def _mistakes(
    results: Sequence[Any],
    accuracy: Mapping[Id, float],
    asked: Mapping[Id, tuple[Path, Any]],
) -> list[Part]:
    """The surest answers that earned nothing."""
    wrong = [result for result in results if accuracy.get(result.question_id) == 0]
    wrong.sort(key=lambda result: result.probabilities[0], reverse=True)
    entries = [_mistake(result, *asked[result.question_id]) for result in wrong[:MISTAKES]]
    note = f"{_counted(len(wrong), 'answer')} earned nothing"
    if len(wrong) > MISTAKES:
        note += f"; these are the {MISTAKES} surest"
    return [Heading("Most confident mistakes", f"{note}."), Gallery(entries)]


def _mistake(result: Any, path: Path, question: Any) -> Entry:
    ours = [
        f"“{answer}” {100 * likely:.1f}{KEPT}%"
        for answer, likely in zip(result.answers, result.probabilities, strict=True)
    ]
    people = Counter(question.answers).most_common()
    notes = [
        f"answered {ours[0]}",
        *([f"then {', '.join(ours[1:])}"] if ours[1:] else []),
        f"people: {', '.join(f'{answer}{KEPT}x{count}' for answer, count in people)}",
    ]
    try:
        photo = load_image(path)
    except InputError as error:
        photo, notes = None, [f"no photo: {error}", *notes]
    else:
        photo.thumbnail((WIDEST, 2 * WIDEST))
    title = f"{path.name}, question {question.question_id}"
    described = f"the photo {path.name}, of which was asked “{question.text}”"
    return Entry(title, question.text, photo, notes, described)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _two(score: float) -> str:
    """Per cent as papers print it."""
    return f"{rounded(score):.2f}"
