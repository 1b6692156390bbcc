"""VQA accuracy: both official programs, each variant by hand, invariances, refusals."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics.vqa import VARIANTS, HumanAnswers, rounded, score_answers

GOLDENS = Path(__file__).resolve().parents[1] / "goldens" / "vqa"  # origin: its README
OFFICIAL = {"official-2021": "official_a013f00_2021", "official-2016": "official_458a8b2_2016"}


@pytest.fixture(scope="module")
def predicted() -> dict[int, str]:
    rows = json.loads((GOLDENS / "vqa_OpenEnded_mscoco_val2014_alg_results.json").read_text())
    return {row["question_id"]: row["answer"] for row in rows}


@pytest.fixture(scope="module")
def human() -> dict[int, HumanAnswers]:
    file = GOLDENS / "v2_mscoco_val2014_annotations.json"
    return {
        row["question_id"]: HumanAnswers(
            tuple(answer["answer"] for answer in row["answers"]),
            row["answer_type"],
            row["question_type"],
        )
        for row in json.loads(file.read_text())["annotations"]
    }


@pytest.mark.parametrize("digits", [2, 20])
@pytest.mark.parametrize("variant", OFFICIAL)
def test_equals_the_official_program(predicted, human, variant: str, digits: int):
    wanted = json.loads((GOLDENS / "expected.json").read_text())[f"{OFFICIAL[variant]}_n{digits}"]
    scores = score_answers(predicted, human, variant=variant)
    assert list(scores.per_question) == list(human)
    by_id = {str(question): score for question, score in scores.per_question.items()}
    for ours, theirs in [
        ({"overall": scores.overall}, {"overall": wanted["accuracy"]["overall"]}),
        (scores.by_answer_type, wanted["accuracy"]["perAnswerType"]),
        (scores.by_question_type, wanted["accuracy"]["perQuestionType"]),
        (by_id, wanted["evalQA"]),
    ]:
        if digits == 2:
            assert {name: rounded(score) for name, score in ours.items()} == theirs
        else:
            assert ours == pytest.approx(theirs, rel=0, abs=1e-12)


def test_mmf_on_the_same_questions(predicted, human):
    # 54.20 and 65: another re-expression of MMF's rules from its source, not that program's output.
    mmf = score_answers(predicted, human, variant="mmf")
    official = score_answers(predicted, human).per_question
    assert rounded(mmf.overall) == 54.2
    assert sum(score != official[question] for question, score in mmf.per_question.items()) == 65


def accuracies(answer: str, *people: str) -> list[float]:
    """Of one answer, by each variant."""
    human = {7: HumanAnswers(people, "other", "what")}
    return [score_answers({7: answer}, human, variant=name).overall for name in VARIANTS]


def test_the_variants_in_order():
    assert VARIANTS == ("official-2021", "official-2016", "mmf")
    human = {7: HumanAnswers(("yes",) * 10, "yes/no", "is")}
    assert score_answers({7: "Yes"}, human) == score_answers({7: "Yes"}, human, variant=VARIANTS[0])


@pytest.mark.parametrize(
    ("answer", "people", "wanted"),  # by hand from each program's rules; in the order of VARIANTS
    [
        ("Yes", ["yes"] * 10, [0, 100, 100]),  # unanimous: 2021 normalises neither side
        (" yes\n", [" yes\t"] * 10, [100, 0, 100]),  # 2016 leaves spaces around people's answers
        ("Yes", ["yes"] * 9 + ["no"], [100, 100, 100]),
        ("dog", ["a dog"] * 9 + ["cat"], [100, 0, 100]),  # 2016 leaves people their articles
        ("two", ["2"] * 9 + ["cat"], [100, 100, 100]),
        ("2", ["two"] * 9 + ["cat"], [100, 0, 100]),
        ("dog", ["dog!"] * 9 + ["cat"], [100, 0, 100]),  # a space is left at the end for 2016
        ("yes", ["yes."] * 10, [0, 0, 100]),
        ("it's", ["it 's"] * 9 + ["cat"], [0, 0, 100]),
        ("1,000 t-shirts", ["1000 t shirts"] * 9 + ["cat"], [0, 0, 100]),
        ("hes", ["he's"] * 9 + ["cat"], [100, 100, 0]),  # MMF parts the 's of people only
    ],
)
def test_variants_by_hand(answer: str, people: list[str], wanted: list[float]):
    assert accuracies(answer, *people) == wanted


@pytest.mark.parametrize(
    ("agreeing", "score"), [(0, 0), (1, 30), (2, 60), (3, 90), (4, 100), (7, 100)]
)
def test_the_ladder_of_ten_people(agreeing: int, score: float):
    assert accuracies("x", *["x"] * agreeing, *["y"] * (10 - agreeing)) == [score] * 3


WORD = st.sampled_from(["x", "y", "z"])
PEOPLE = st.lists(WORD, min_size=1, max_size=13)


@given(WORD, PEOPLE)
def test_is_the_mean_of_leaving_each_person_out(answer: str, people: list[str]):
    kept = [people[:out] + people[out + 1 :] for out in range(len(people))]
    mean = sum(min(1, others.count(answer) / 3) for others in kept) / len(kept)
    assert accuracies(answer, *people) == pytest.approx([100 * mean] * 3, rel=0, abs=1e-12)


def test_few_people_never_make_a_whole():
    assert [accuracies("x", *["x"] * n)[0] for n in (1, 2, 3, 4)] == pytest.approx(
        [0, 100 / 3, 200 / 3, 100]
    )


QUESTIONS = st.lists(
    st.tuples(WORD, PEOPLE, st.sampled_from(["number", "other"]), WORD), min_size=1, max_size=7
)
Questions = list[tuple[str, list[str], str, str]]


def sides(questions: Questions) -> tuple[dict[int, str], dict[int, HumanAnswers]]:
    human = {i: HumanAnswers(tuple(row[1]), *row[2:]) for i, row in enumerate(questions)}
    return {i: row[0] for i, row in enumerate(questions)}, human


@given(QUESTIONS, st.randoms(use_true_random=False))
def test_order_of_questions_and_people_changes_nothing(questions: Questions, random):
    answers, human = sides(questions)
    turned = {i: row._replace(answers=row.answers[::-1]) for i, row in human.items()}
    shuffled = dict(random.sample(sorted(turned.items()), len(turned)))
    scores = score_answers(answers, shuffled)
    assert scores == score_answers(answers, human)
    assert list(scores.per_question) == list(shuffled)
    assert list(scores.by_answer_type) == sorted(scores.by_answer_type)


@given(QUESTIONS)
def test_every_question_twice_changes_no_mean(questions: Questions):
    once, twice = score_answers(*sides(questions)), score_answers(*sides(questions * 2))
    assert twice.overall == pytest.approx(once.overall)
    assert twice.by_answer_type == pytest.approx(once.by_answer_type)
    assert twice.by_question_type == pytest.approx(once.by_question_type)


@given(QUESTIONS)
def test_types_part_the_questions(questions: Questions):
    scores = score_answers(*sides(questions))
    for names, means in [
        ([row[2] for row in questions], scores.by_answer_type),
        ([row[3] for row in questions], scores.by_question_type),
    ]:
        assert set(means) == set(names)
        mean = sum(means[name] for name in names) / len(names)
        assert scores.overall == pytest.approx(mean)


def test_rounds_halves_away_from_zero_and_nothing_else():
    assert [rounded(x) for x in (0.125, 12.125, 12.375, 99.995)] == [0.13, 12.13, 12.38, 100.0]
    assert [rounded(x) for x in (2.675, 54.204, 100.0)] == [2.67, 54.2, 100.0]  # 2.675 is below


TEN = HumanAnswers(("x",) * 10, "other", "what")


def test_missing_answers_are_named_five_at_most():
    with pytest.raises(InputError, match=r"^questions 0, 1, 2, 3, 4 and 2 more have human answers"):
        score_answers({}, dict.fromkeys(range(7), TEN))


def test_foreign_answers_are_named():
    with pytest.raises(InputError, match=r"^questions 'b', 'c' have a predicted answer but no"):
        score_answers({"a": "x", "b": "x", "c": "x"}, {"a": TEN})


def test_questions_that_nobody_answered_are_named():
    with pytest.raises(InputError, match=r"^questions 3 have an empty list of human answers"):
        score_answers({2: "x", 3: "x"}, {2: TEN, 3: HumanAnswers((), "other", "what")})


def test_answers_that_are_no_strings_are_named():
    with pytest.raises(InputError, match=r"^questions 3 have a predicted answer that is not a str"):
        score_answers({2: "x", 3: 5}, {2: TEN, 3: TEN})  # pyright: ignore
    for wrong in (("x", 5), "one"):
        bad = TEN._replace(answers=wrong)
        with pytest.raises(InputError, match=r"^questions 3 have human answers that are not a lis"):
            score_answers({2: "x", 3: "x"}, {2: TEN, 3: bad})


def test_no_question_is_refused():
    with pytest.raises(InputError, match="there are no human answers"):
        score_answers({}, {})


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("oficial-2016", "official-2016"), ("2021", "official-2021"), ("MMF1", "mmf")],
)
def test_the_nearest_variant_is_suggested(wrong: str, nearest: str):
    with pytest.raises(InputError, match=rf"^no variant '{wrong}' .*did you mean '{nearest}'\?$"):
        score_answers({7: "x"}, {7: TEN}, variant=wrong)
