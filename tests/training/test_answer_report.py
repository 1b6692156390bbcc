"""The report of a test of answers, of results made by hand."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import ExifTags, Image

from vlm.explain.reliability import reliability_picture
from vlm.formats.question_sets import AskedQuestion, QuestionSample
from vlm.metrics.calibration import Bin
from vlm.training.answer_report import write_answer_report

BINS = [Bin(0.5, 0.6, 1, 0.55, 1.0), Bin(0.9, 1.0, 3, 0.95, 0.1)]
EVIL = '<script>alert("x")</script>'


class Result(NamedTuple):
    question_id: int | str
    answers: tuple[str, ...]
    probabilities: tuple[float, ...]


class Report(HTMLParser):
    """Rows of its tables, its entries and its paragraphs, each as text; its pictures."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.source = (folder / "report.html").read_text(encoding="utf-8")
        self.rows: list[list[str]] = []
        self.entries: list[list[str]] = []
        self.pictures: list[dict[str, Any]] = []
        self.tags: set[str] = set()
        self.lines: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.lines.append("")
        if tag == "tr":
            self.rows.append([])
        if tag == "section":
            self.entries.append([])
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data):
        if self.lines:
            self.lines[-1] += data

    def handle_endtag(self, tag):
        text = self.lines[-1].replace("\N{NO-BREAK SPACE}", " ")
        if tag in ("td", "th"):
            self.rows[-1].append(text)
        if tag in ("p", "h3") and self.entries:
            self.entries[-1].append(text)

    def photo(self, index: int) -> Image.Image:
        """Of the mistakes; the first picture of all is the diagram."""
        data = self.pictures[1 + index]["src"].removeprefix("data:image/jpeg;base64,")
        return Image.open(io.BytesIO(base64.b64decode(data)))


def question(
    key: int | str,
    text: str = "what is it?",
    *,
    people: tuple[str, ...] = ("red",) * 10,
    types: tuple[str, str] = ("other", "what is"),
) -> AskedQuestion:
    return AskedQuestion(key, text, people, people[0], *types)


def record(scores: dict[str, float], types: dict[str, float]) -> dict[str, Any]:
    return {
        "scores": scores,
        "question types": types,
        "questions": 4,
        "answers": 3129,
        "ceiling": 92.3456,
        "calibration": {
            "temperature": 1.2589,
            "expected calibration error": 0.0456,
            "bins": [each._asdict() for each in BINS],
        },
        "abstention": [
            {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.61234},
            {"threshold": 0.9, "coverage": 0.25, "accuracy": 0.98765},
        ],
    }


RECORD = record({"overall": 61.234, "other": 50.0, "yes/no": 83.702}, {"is": 80, "what is": 40.5})


def written(folder: Path, samples: list[QuestionSample], results: list[Result], **given) -> Report:
    """The report; every question has accuracy 0 where nothing else is given."""
    accuracy = {q.question_id: 0.0 for sample in samples for q in sample.questions}
    options = {"record": RECORD, "accuracy": accuracy} | given
    write_answer_report(folder, options["record"], results, options["accuracy"], samples)
    return Report(folder)


def photographed(path: Path, size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, "teal").save(path)
    return path


@pytest.fixture
def samples(tmp_path: Path) -> list[QuestionSample]:
    """Four questions about two photos, and an image that is only listed."""
    one, other = photographed(tmp_path / "one.jpg"), photographed(tmp_path / "other.png")
    return [
        QuestionSample(1, one, (question(11), question(12, types=("yes/no", "is")))),
        QuestionSample(2, other, (question("b"), question("c"))),
        QuestionSample(3, tmp_path / "listed.jpg", ()),
    ]


RESULTS = [
    Result(11, ("blue", "red"), (0.5, 0.25)),
    Result(12, ("no", "yes"), (0.75, 0.1)),
    Result("b", ("a dog", "a cat", "red"), (0.98765, 0.01, 0.00125)),
    Result("c", ("red",), (0.9,)),
]


def test_the_first_line_tells_accuracy_ceiling_and_error(tmp_path: Path, samples):
    source = written(tmp_path / "new" / "folder", samples, RESULTS).source
    assert (
        "Accuracy 61.23 % on 4 questions; 3,129 answers can earn 92.35 % at most. "
        "Expected calibration error 4.6 %."
    ) in source
    assert "temperature of 1.26" in source


def test_tables_by_answer_question_and_confidence(tmp_path: Path, samples):
    assert written(tmp_path, samples, RESULTS).rows == [
        ["answer type", "questions", "accuracy, %"],
        ["overall", "4", "61.23"],
        ["other", "3", "50.00"],
        ["yes/no", "1", "83.70"],
        ["question type", "questions", "accuracy, %"],
        ["is", "1", "80.00"],
        ["what is", "3", "40.50"],
        ["confidence", "questions", "mean confidence", "mean accuracy"],
        ["0.50 to 0.60", "1", "0.550", "1.000"],
        ["0.90 to 1.00", "3", "0.950", "0.100"],
        ["withheld below", "answered, %", "accuracy of those, %"],
        ["0.0", "100.00", "61.23"],
        ["0.9", "25.00", "98.77"],
    ]


def test_only_questions_with_an_accuracy_count(tmp_path: Path, samples):
    report = written(tmp_path, samples, RESULTS, accuracy={11: 0.0, 12: 100.0})
    assert "on 2 questions;" in report.source
    assert report.rows[2] == ["other", "1", "50.00"]
    assert "1 answer earned nothing." in report.source
    assert [entry[-1] for entry in report.entries] == ["one.jpg, question 11"]


def test_types_that_no_question_has_make_no_table(tmp_path: Path, samples):
    bare = [
        sample._replace(
            questions=tuple(
                each._replace(answer_type="", question_type="") for each in sample.questions
            )
        )
        for sample in samples
    ]
    untyped = record({"overall": 25.0, "": 25.0}, {"": 25.0})
    rows = written(tmp_path, bare, RESULTS, record=untyped).rows
    assert rows[1] == ["overall", "4", "25.00"]
    assert rows[2][0] == "confidence"
    mixed = [bare[0], *samples[1:]]
    some = record({"overall": 25.0, "": 10.0, "other": 40.0}, {"": 10.0, "what is": 40.0})
    rows = written(tmp_path, mixed, RESULTS, record=some).rows
    assert [row[:2] for row in rows[1:4]] == [["overall", "4"], ["not given", "2"], ["other", "2"]]
    assert [row[:2] for row in rows[5:7]] == [["not given", "2"], ["what is", "2"]]


def test_the_diagram_is_in_the_page_and_beside_it(tmp_path: Path, samples):
    report = written(tmp_path, samples, RESULTS)
    wanted = np.asarray(reliability_picture(BINS, error=0.0456))
    with Image.open(tmp_path / "reliability.png") as beside:
        np.testing.assert_array_equal(np.asarray(beside), wanted)
    data = report.pictures[0]["src"].removeprefix("data:image/png;base64,")
    within = Image.open(io.BytesIO(base64.b64decode(data)))
    np.testing.assert_array_equal(np.asarray(within), wanted)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("one.jpg", "other.png", "reliability.png", "report.html")
    ]


def test_the_surest_of_wrong_answers_come_first(tmp_path: Path, samples):
    accuracy = {11: 0.0, 12: 0.0, "b": 0.0, "c": 30.0}
    report = written(tmp_path, samples, RESULTS, accuracy=accuracy)
    titles = [entry[-1] for entry in report.entries]
    assert titles == [
        *("other.png, question b", "one.jpg, question 12", "one.jpg, question 11"),
    ]
    assert "3 answers earned nothing." in report.source


def test_no_more_than_24_mistakes_are_shown(tmp_path: Path):
    photo = photographed(tmp_path / "a.jpg")
    samples = [QuestionSample(1, photo, tuple(question(key) for key in range(30)))]
    results = [Result(key, ("no",), (0.5 + key / 100,)) for key in range(30)]
    report = written(tmp_path, samples, results)
    assert [entry[-1] for entry in report.entries] == [
        f"a.jpg, question {key}" for key in range(29, 5, -1)
    ]
    assert "30 answers earned nothing; these are the 24 surest." in report.source


def test_without_a_mistake_it_says_so(tmp_path: Path, samples):
    accuracy = dict.fromkeys((11, 12, "b", "c"), 100.0)
    report = written(tmp_path, samples, RESULTS, accuracy=accuracy)
    assert report.entries == []
    assert "0 answers earned nothing." in report.source


def test_a_mistake_has_its_question_our_answers_and_those_of_people(tmp_path: Path):
    people = ("red", "orange", "red", "pink", "red", "orange")
    asked = question(5, "what color is the car?", people=people)
    samples = [QuestionSample(1, photographed(tmp_path / "car.jpg"), (asked,))]
    answers = Result(5, ("blue", "red", "teal"), (0.91234, 0.05, 0.0004))
    report = written(tmp_path, samples, [answers])
    assert report.entries == [
        [
            "what color is the car?",
            "answered “blue” 91.2 %",
            "then “red” 5.0 %, “teal” 0.0 %",
            "people: red x3, orange x2, pink x1",
            "car.jpg, question 5",
        ]
    ]
    alone = written(tmp_path, samples, [Result(5, ("blue",), (1.0,))])
    assert alone.entries[0][1:3] == [
        "answered “blue” 100.0 %",
        "people: red x3, orange x2, pink x1",
    ]


def test_photos_are_upright_and_small_and_described(tmp_path: Path):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6  # turned to the right by who shows it
    lying = np.zeros((400, 800, 3), np.uint8)
    lying[:, :400] = (255, 0, 0)  # its left is the top of the upright one
    Image.fromarray(lying).save(tmp_path / "lying.jpg", exif=tags, quality=95)
    photographed(tmp_path / "wide.png", (1000, 250))
    photographed(tmp_path / "little.png", (30, 20))
    names = ("lying.jpg", "wide.png", "little.png")
    samples = [
        QuestionSample(key, tmp_path / name, (question(key, f"what is {key}?"),))
        for key, name in enumerate(names)
    ]
    results = [Result(key, ("no",), (0.9 - key / 10,)) for key in range(3)]
    report = written(tmp_path, samples, results)
    assert [report.photo(index).size for index in range(3)] == [(320, 640), (320, 80), (30, 20)]
    upright = np.asarray(report.photo(0)).astype(int)
    assert upright[100, 160, 0] > 200
    assert upright[500, 160, 0] < 50
    assert all(picture["alt"] for picture in report.pictures)
    assert "lying.jpg" in report.pictures[1]["alt"]
    assert "what is 0?" in report.pictures[1]["alt"]


def test_a_photo_that_cannot_be_shown_is_told(tmp_path: Path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    names = ("gone.jpg", "torn.jpg", "there.png")
    photographed(tmp_path / "there.png")
    samples = [
        QuestionSample(name, tmp_path / name, (question(key),)) for key, name in enumerate(names)
    ]
    results = [Result(key, ("no",), (0.9 - key / 10,)) for key in range(3)]
    report = written(tmp_path, samples, results)
    gone, torn, there = report.entries
    assert gone[1] == f"no photo: image {tmp_path / 'gone.jpg'} does not exist; check the path"
    assert gone[2] == "answered “no” 90.0 %"
    assert torn[1].startswith(f"no photo: image {tmp_path / 'torn.jpg'} ")
    assert there[1] == "answered “no” 70.0 %"
    assert len(report.pictures) == 2


def test_what_texts_hold_stays_text(tmp_path: Path):
    asked = question(EVIL, EVIL, people=(EVIL,), types=(EVIL, EVIL))
    samples = [QuestionSample(1, tmp_path / "<b>.jpg", (asked,))]
    scores = record({"overall": 0.0, EVIL: 0.0}, {EVIL: 0.0})
    report = written(tmp_path, samples, [Result(EVIL, (EVIL, EVIL), (0.5, 0.4))], record=scores)
    assert not report.tags & {"script", "b"}
    assert report.entries[0][0] == EVIL
    assert report.entries[0][2:] == [
        *(f"answered “{EVIL}” 50.0 %", f"then “{EVIL}” 40.0 %", f"people: {EVIL} x1"),
        f"<b>.jpg, question {EVIL}",
    ]
    assert report.rows[2][0] == EVIL


def test_texts_that_are_no_unicode_do_not_cost_the_report(tmp_path: Path):
    samples = [QuestionSample(1, tmp_path / "\udce4.jpg", (question(1, "half a pair \ud83d?"),))]
    report = written(tmp_path, samples, [Result(1, ("no",), (0.5,))])
    assert report.entries[0][0].startswith("half a pair ")
    assert report.entries[0][0].endswith("?")
