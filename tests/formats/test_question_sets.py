"""Sets of questions are read from every layout; each way one can be wrong is told."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlm.errors import InputError
from vlm.formats.question_sets import AskedQuestion, QuestionSample, oddities, read_question_samples
from vlm.text.answers import soft_targets

NOWHERE = Path("no/such/folder")
Tree = dict[str, Any]


def written(folder: Path, content: object, name: str = "set.json") -> Path:
    """JSON, or lines of it where a list is written to a file that is named so."""
    in_lines = name.removesuffix(".gz").endswith(".jsonl") and isinstance(content, list)
    text = "\n".join(map(json.dumps, content)) if in_lines else json.dumps(content)
    file = folder / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return file


def questions() -> Tree:
    rows = [
        {"question_id": 420, "image_id": 42, "question": "Is it red?"},
        {"question_id": 70, "image_id": 7, "question": "How many?"},
        {"question_id": 421, "image_id": 42, "question": "What is it?"},
    ]
    return {"questions": rows}


def people(*texts: str) -> list[Tree]:
    return [{"answer": text, "answer_confidence": "yes"} for text in texts]


def annotations() -> Tree:
    rows = [
        {"question_id": 421, "answers": people("dog", "cat", "cat", "dog", "a dog")},
        {
            "question_id": 420,
            "answers": people(*["yes"] * 6, *["no"] * 4),
            "multiple_choice_answer": "no",
            "answer_type": "yes/no",
            "question_type": "is it",
        },
        {"question_id": 70, "answers": people("2"), "multiple_choice_answer": None},
    ]
    return {"annotations": rows}


def pair(folder: Path, asked: Tree, told: Tree) -> tuple[Path, Path]:
    return written(folder, asked, "asked.json"), written(folder, told, "told.json")


def assert_told(reason: str, questions: Path, answers: Path | None = None, **options: str):
    with pytest.raises(InputError, match=f"^{re.escape(reason)}$") as told:
        read_question_samples(questions, answers, NOWHERE, **options)
    assert "\n" not in str(told.value)


# --- VQA v2 ----------------------------------------------------------------------------------


def test_two_files_are_joined_and_grouped_by_image(tmp_path):
    asked, told = pair(tmp_path, questions(), annotations())
    assert read_question_samples(asked, told, NOWHERE) == [
        QuestionSample(
            42,
            NOWHERE / "000000000042.jpg",
            (
                # The file's own word counts, though more people said yes.
                AskedQuestion(
                    420, "Is it red?", ("yes",) * 6 + ("no",) * 4, "no", "yes/no", "is it"
                ),
                # Two said dog and two cat; dog was first.
                AskedQuestion(
                    421, "What is it?", ("dog", "cat", "cat", "dog", "a dog"), "dog", "", ""
                ),
            ),
        ),
        # In annotations the only answer stays the only one.
        QuestionSample(
            7, NOWHERE / "000000000007.jpg", (AskedQuestion(70, "How many?", ("2",), "2", "", ""),)
        ),
    ]


def test_the_most_common_answer_need_not_be_the_first(tmp_path):
    told = annotations()
    told["annotations"][0]["answers"] = people("dog", "cat", "cat")
    asked, answers = pair(tmp_path, questions(), told)
    assert read_question_samples(asked, answers, NOWHERE)[0].questions[1].answer == "cat"


def test_questions_alone_are_without_answers(tmp_path):
    samples = read_question_samples(written(tmp_path, questions()), None, NOWHERE)
    assert [len(sample.questions) for sample in samples] == [2, 1]
    assert {row[2:] for sample in samples for row in sample.questions} == {((), "", "", "")}


def test_annotations_may_spell_ids_otherwise(tmp_path):
    told = annotations()
    for row, spelled in zip(told["annotations"], ("000421", "420", 70.0), strict=True):
        row["question_id"] = spelled
    asked, answers = pair(tmp_path, questions(), told)
    samples = read_question_samples(asked, answers, NOWHERE)
    assert samples == read_question_samples(*pair(tmp_path, questions(), annotations()), NOWHERE)


def test_listed_images_have_their_names_and_come_last_when_nobody_asks(tmp_path):
    asked = questions() | {
        "images": [
            {"id": 5, "file_name": "five.png"},
            {"id": "0042", "file_name": "sub/answer.jpg"},
            {"id": 7},
        ]
    }
    samples = read_question_samples(written(tmp_path, asked), None, NOWHERE)
    assert [(sample.image_id, str(sample.path.relative_to(NOWHERE))) for sample in samples] == [
        (42, "sub/answer.jpg"),
        (7, "000000000007.jpg"),
        (5, "five.png"),
    ]
    assert samples[2].questions == ()


def test_files_that_do_not_belong_together_are_told(tmp_path):
    short, long = annotations(), annotations()
    del short["annotations"][:2]
    long["annotations"] += [{"question_id": n, "answers": people("a")} for n in (8, 9)]
    asked, told = pair(tmp_path, questions(), short)
    assert_told(
        f"{told} has no answers to question_id 420, 421 of {asked}; "
        "give the annotations that belong to the questions",
        asked,
        told,
    )
    asked, told = pair(tmp_path, questions(), long)
    assert_told(
        f"{told} has answers to question_id 8, 9, which {asked} does not ask; "
        "give the questions that belong to the annotations",
        asked,
        told,
    )


ASKED: dict[str, tuple[Callable[[Tree], object], str]] = {
    "doubled": (
        lambda tree: tree["questions"][2].update(question_id=420),
        "{} lists question ids more than once: 420; keep one",
    ),
    "empty": (
        lambda tree: tree["questions"][1].update(question=" "),
        "{}: question 70 has no text; write what is asked or remove the entry",
    ),
    "both empty": (
        lambda tree: [row.update(question="") for row in tree["questions"][1:]],
        "{}: questions 70, 421 have no text; write what is asked or remove the entry",
    ),
    "none": (
        lambda tree: tree["questions"].clear(),
        "{} has no entry in 'questions'; give a file with entries",
    ),
    "doubled image": (
        lambda tree: tree.update(images=[{"id": 5}, {"id": 5}]),
        "{} lists image ids more than once: 5; keep one",
    ),
    "no name": (
        lambda tree: tree.update(images=[{"id": 5, "file_name": 3}]),
        "{}: expected text as 'file_name' of entry 1 of 'images' (id 5), got 3; correct it",
    ),
    "no list of images": (
        lambda tree: tree.update(images={}),
        "{} has an object as 'images' and no list; expected 'images' with id and file_name",
    ),
}


@pytest.mark.parametrize("kind", ASKED)
def test_wrong_questions_are_told(tmp_path, kind):
    change, reason = ASKED[kind]
    content = questions()
    change(content)
    file = written(tmp_path, content)
    assert_told(reason.format(file), file)


def test_wrong_annotations_are_told(tmp_path):
    told = annotations()
    told["annotations"][1]["answers"] = []
    asked, answers = pair(tmp_path, questions(), told)
    assert_told(f"{answers}: questions 420 have no answer; give each one or more", asked, answers)
    told = annotations()
    told["annotations"][1]["multiple_choice_answer"] = 5
    asked, answers = pair(tmp_path, questions(), told)
    assert_told(
        f"{answers}: expected text as 'multiple_choice_answer' of entry 2 of 'annotations' "
        "(question_id 420), got 5; correct it",
        asked,
        answers,
    )


# --- Sets of one file ------------------------------------------------------------------------

TEN = ("red",) * 7 + ("blue",) * 3
LINES = [
    {"image": "b.jpg", "question": "Colour?", "answers": list(TEN), "answer_type": "other"},
    {"image": "a.jpg", "question": "Why?", "answers": ["art"], "question_id": "x"},
    {"image": "b.jpg", "question": "How?", "question_type": "how"},
]
OF_LINES = [
    ("b.jpg", "b.jpg", [(1, "Colour?", TEN, "red", "other", ""), (3, "How?", (), "", "", "how")]),
    ("a.jpg", "a.jpg", [("x", "Why?", ("art",) * 10, "art", "", "")]),
]
VIZWIZ = [
    {
        "image": f"VizWiz_train_0000000{number}.jpg",
        "question": "What is it?",
        "answers": people(*TEN),
        "answer_type": "other",
        "answerable": 1,
    }
    for number in range(2)
]
OF_VIZWIZ = [
    (name, name, [(number, "What is it?", TEN, "red", "other", "")])
    for number, name in enumerate(["VizWiz_train_00000000.jpg", "VizWiz_train_00000001.jpg"])
]
ASKED_TEXTVQA = {"question_id": 34602, "image_id": "0054c91397f2fe05", "question": "Brand?"}
TEXTVQA = {"dataset_type": "train", "data": [ASKED_TEXTVQA | {"answers": list(TEN)}]}
OF_TEXTVQA = [("0054c91397f2fe05", "0054c91397f2fe05.jpg", [(34602, "Brand?", TEN, "red", "", "")])]
GQA = {
    "07333408": {"imageId": "2375429", "question": "Is it?", "answer": "no", "fullAnswer": "No."},
    "07333405": {"imageId": "n5", "question": "Who?", "answer": "man"},
    "07333406": {"imageId": "2375429", "question": "Where?"},
}
OF_GQA = [
    (
        "2375429",
        "2375429.jpg",
        [
            ("07333408", "Is it?", ("no",) * 10, "no", "", ""),
            ("07333406", "Where?", (), "", "", ""),
        ],
    ),
    ("n5", "n5.jpg", [("07333405", "Who?", ("man",) * 10, "man", "", "")]),
]
SETS = {
    "lines": ("set.jsonl", LINES, OF_LINES),
    "packed lines": ("set.jsonl.gz", LINES, OF_LINES),
    "VizWiz": ("val.json", VIZWIZ, OF_VIZWIZ),
    "TextVQA": ("TextVQA_0.5.1_val.json", TEXTVQA, OF_TEXTVQA),
    "GQA": ("val_balanced_questions.json.gz", GQA, OF_GQA),
}


@pytest.mark.parametrize("kind", SETS)
def test_a_set_of_one_file_is_told_by_what_it_holds(tmp_path, kind):
    name, content, expected = SETS[kind]
    samples = read_question_samples(written(tmp_path, content, name), None, NOWHERE)
    assert samples == [
        QuestionSample(image, NOWHERE / file, tuple(AskedQuestion(*row) for row in rows))
        for image, file, rows in expected
    ]


def test_the_only_answer_counts_in_full(tmp_path):
    (sample, _) = read_question_samples(written(tmp_path, GQA), None, NOWHERE)
    assert soft_targets(sample.questions[0].answers, {"no", "yes"}) == {"no": 1.0}


def test_test_files_are_without_answers(tmp_path):
    bare = [{"image": row["image"], "question": row["question"]} for row in VIZWIZ]
    for name, content in (("a.json", bare), ("b.json", {"data": [ASKED_TEXTVQA]})):
        samples = read_question_samples(written(tmp_path, content, name), None, NOWHERE)
        assert {question.answers for sample in samples for question in sample.questions} == {()}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("lines", "JSON lines"), ("VizWiz", "VizWiz"), ("TextVQA", "TextVQA"), ("GQA", "GQA")],
)
def test_annotations_beside_a_set_of_one_file_are_refused(tmp_path, kind, name):
    file = written(tmp_path, SETS[kind][1], SETS[kind][0])
    told = written(tmp_path, annotations(), "told.json")
    assert_told(f"{file} holds its own answers, as sets of {name} do; leave out {told}", file, told)


FORMS = {
    "lines": '{"image": "a.jpg", "question": "...", "answers": ["..."]}',
    "VizWiz": '{"image": "a.jpg", "question": "...", "answers": [{"answer": "..."}]}',
    "TextVQA": '{"question_id": 1, "image_id": "a", "question": "...", "answers": ["..."]}',
    "GQA": '{"imageId": "1", "question": "...", "answer": "..."}',
}


@pytest.mark.parametrize(
    ("kind", "rows", "place", "got"),
    [
        ("lines", [*LINES, 5], "line 4", "5"),
        ("lines", [{"image": "a.jpg"}], "line 1", "an object without 'question'"),
        ("lines", [LINES[0] | {"image": 5}], "line 1", "5 as 'image'"),
        ("lines", [LINES[0] | {"image": ""}], "line 1", "\"\" as 'image'"),
        ("lines", [LINES[0] | {"question": None}], "line 1", "null as 'question'"),
        ("lines", [LINES[0] | {"question_id": True}], "line 1", "true as 'question_id'"),
        ("lines", [LINES[0] | {"answers": "red"}], "line 1", "\"red\" as 'answers'"),
        ("lines", [LINES[0] | {"answers": None}], "line 1", "null as 'answers'"),
        ("lines", [LINES[0] | {"answers": ["red", 2]}], "line 1", "2 as an answer"),
        ("VizWiz", [*VIZWIZ, {"question": "?"}], "question 2", "an object without 'image'"),
        ("VizWiz", [VIZWIZ[0] | {"answers": [{}]}], "question 0", "null as an answer"),
        (
            "TextVQA",
            {"data": [{"image_id": "a", "question": "?"}]},
            "entry 1",
            "an object without 'question_id'",
        ),
        (
            "TextVQA",
            {"data": [ASKED_TEXTVQA, ASKED_TEXTVQA | {"image_id": None}]},
            "entry 2",
            "null as 'image_id'",
        ),
        ("GQA", GQA | {"1": {"question": "?"}}, "question 1", "an object without 'imageId'"),
        ("GQA", {"": {"imageId": "a", "question": "?"}}, 'question ""', "\"\" as 'question_id'"),
        (
            "GQA",
            {"1": {"imageId": "a", "question": "?", "answer": ["no"]}},
            "question 1",
            "a list as 'answer'",
        ),
    ],
)
def test_a_wrong_row_is_told_by_its_place(tmp_path, kind, rows, place, got):
    file = written(tmp_path, rows, SETS[kind][0])
    assert_told(f"{file}, {place}: expected {FORMS[kind]}, got {got}; correct it", file)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", [LINES[1]] * 2, " lists question ids more than once: x; keep one"),
        (
            "a.json",
            {"data": [ASKED_TEXTVQA] * 2},
            " lists question ids more than once: 34602; keep one",
        ),
        (
            "a.jsonl",
            [LINES[0] | {"answers": []}, LINES[0], LINES[1] | {"answers": []}],
            ": questions 1, x have an empty list as 'answers'; give one answer or more, or leave "
            "the field out for prediction",
        ),
        (
            "a.jsonl",
            [LINES[0], LINES[0] | {"question": "\t"}],
            ": question 2 has no text; write what is asked or remove the entry",
        ),
        ("a.json", {"data": []}, " holds no question; give a file with questions"),
    ],
)
def test_a_wrong_set_is_told(tmp_path, name, content, reason):
    file = written(tmp_path, content, name)
    assert_told(f"{file}{reason}", file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (annotations(), "a VQA annotations file"),
        ({"annotations": [{"image_id": 1, "caption": "a"}]}, "a COCO captions file"),
        ([{"question_id": 1, "answer": "yes"}], "a list of results"),
        ([], "a list"),
        ({}, "an object of another kind"),
        (3, "a single value, 3"),
    ],
)
def test_what_is_no_set_of_questions_is_told(tmp_path, content, found):
    file = written(tmp_path, content)
    sets = "VQA v2 (two files), JSON lines (.jsonl), VizWiz, TextVQA or GQA"
    assert_told(f"{file} is {found}, not a set of questions; give {sets}", file)


def test_the_name_tells_lines_from_json(tmp_path):
    lines = "".join(f"{json.dumps(row)}\n" for row in LINES)
    (tmp_path / "a.json").write_text(lines)
    file = tmp_path / "a.json"
    assert_told(f"file {file} holds JSON lines, not JSON; name it a.jsonl", file)
    (tmp_path / "b.jsonl").write_text(json.dumps(VIZWIZ))
    file = tmp_path / "b.jsonl"
    assert_told(f"file {file} holds one JSON value, not JSON lines; name it b.json", file)
    (tmp_path / "c.jsonl").write_text("\n")
    file = tmp_path / "c.jsonl"
    assert_told(f"{file} holds no question; give a file with questions", file)


# --- Images and oddities ---------------------------------------------------------------------


def test_a_template_names_images_that_the_set_does_not(tmp_path):
    options = {"image_name": "image{image_id}.jpg"}
    asked = questions() | {"images": [{"id": 42, "file_name": "own.jpg"}]}
    for content, name, names in (
        (asked, "a.json", ["own.jpg", "image7.jpg"]),
        (GQA, "b.json", ["image2375429.jpg", "imagen5.jpg"]),
        (LINES, "c.jsonl", ["b.jpg", "a.jpg"]),
    ):
        file = written(tmp_path, content, name)
        samples = read_question_samples(file, None, NOWHERE, **options)
        assert [sample.path.name for sample in samples] == names


def test_the_drawn_world_names_its_images(tiny_world):
    files = [tiny_world / f"{kind}_val.json" for kind in ("questions", "annotations")]
    samples = read_question_samples(*files, tiny_world / "images")
    names = sorted(sample.path.name for sample in samples)
    assert names == [f"val_{number:06d}.jpg" for number in range(7)]
    assert all(sample.path.is_file() for sample in samples)


def test_a_wrong_template_is_told(tmp_path):
    assert_told(
        "expected a name with {image_id} as image_name, got '{id}.jpg'; "
        "write image{image_id}.jpg, say, with no other field",
        written(tmp_path, questions()),
        image_name="{id}.jpg",
    )


def test_oddities_are_counted(tmp_path):
    asked, told = pair(tmp_path, questions(), annotations())
    assert oddities(read_question_samples(asked, told, NOWHERE)) == [
        "2 questions have fewer than ten answers"  # 421 has five, 70 has one
    ]
    images = {"images": [{"id": number, "file_name": "a"} for number in (7, 42, 1, 2)]}
    asked = written(tmp_path, questions() | images)
    assert oddities(read_question_samples(asked, None, NOWHERE)) == ["2 images have no question"]
    few = [LINES[0] | {"answers": ["a", "b"]}]
    samples = read_question_samples(written(tmp_path, few, "a.jsonl"), None, NOWHERE)
    assert oddities([*samples, QuestionSample(9, NOWHERE, ())]) == [
        "1 question has fewer than ten answers",
        "1 image has no question",
    ]
    assert oddities(read_question_samples(written(tmp_path, GQA), None, NOWHERE)) == []


# --- Real files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told", "images", "image_name", "counts"),
    [
        (
            "daquar/annotations/questions_train.json",
            "daquar/annotations/annotations_train.json",
            "daquar/images",
            "image{image_id}.jpg",
            (695, 6001),
        ),
        (
            "coco/annotations/vqa_questions_train.json",
            "coco/annotations/vqa_annotations_train.json",
            "coco/images",
            None,
            (None, 782),
        ),
        (
            "coco/annotations/vqa_questions_val.json",
            "coco/annotations/vqa_annotations_val.json",
            "coco/images",
            None,
            (78, 117),
        ),
        (
            "vqav2_text/questions_valid.json.gz",
            "vqav2_text/annotations_valid.json.gz",
            "vqav2_text/images",
            None,
            (None, 7242),
        ),
    ],
)
def test_real_sets_are_read(shared, asked, told, images, image_name, counts):
    data = shared / "data"
    samples = read_question_samples(data / asked, data / told, data / images, image_name=image_name)
    photos, total = counts
    asked_of = [question for sample in samples for question in sample.questions]
    assert len(asked_of) == total
    assert photos in (None, len(samples))
    assert {len(question.answers) for question in asked_of} == {10}
    assert oddities(samples) == []
    there = (data / images).is_dir()
    assert all(sample.path.is_file() == there for sample in samples)
