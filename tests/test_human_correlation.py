"""The script that correlates scores with ratings: tau-c, document frequencies, refusals."""

import json
import re
import runpy
import time
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics import score_captions

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "human_correlation.py"
script = SimpleNamespace(**runpy.run_path(str(SCRIPT)))

PAIRS = st.lists(st.tuples(st.integers(-2, 5), st.sampled_from([0.0, 0.1, 0.25, 7.0])), min_size=2)


def row(caption: str, references: list[str], score: float) -> dict:
    return {"caption": caption, "references": references, "score": score}


DOG = ["a dog runs on grass", "a brown dog"]
CAT = ["two cats sit on a mat"]
BUS = ["a red bus on a road", "the bus"]
ROWS = [
    row("a dog runs on grass", DOG, 4),
    row("a dog on a mat", DOG, 2),
    row("two cats sit", CAT, 3),
    row("a red bus", BUS, 3),
    row("a bus on grass", BUS, 1),
]


def ratings(rows: list[dict]) -> list:
    return [script.Rating(r["caption"], tuple(r["references"]), r["score"]) for r in rows]


def write(folder: Path, *lines: str) -> str:
    file = folder / "ratings.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


def test_tau_c_by_hand():
    # Of ten pairs of rows 7 are in the same order and 1, the 3rd and 4th, in opposite order; the
    # 1st and 2nd are tied in x, the 3rd and 5th in y. Four distinct values each.
    tau = script.kendall_tau_c([1, 1, 2, 3, 4], [1, 2, 4, 3, 4])
    assert tau == pytest.approx(2 * 4 * (7 - 1) / (5**2 * (4 - 1)))


def test_the_smaller_number_of_distinct_values_counts():
    # x: 1 to 4, y: two values. Pairs in order: all 4 across y's step. 2 * 2 * 4 / (16 * 1) = 1.
    assert script.kendall_tau_c([1, 2, 3, 4], [0, 0, 1, 1]) == 1.0


@settings(deadline=None)
@given(PAIRS)
def test_tau_c_equals_a_count_of_all_pairs(pairs: list[tuple[int, float]]):
    x, y = zip(*pairs, strict=True)
    steps = min(len(set(x)), len(set(y)))
    if steps < 2:
        with pytest.raises(InputError, match="distinct values, which order nothing"):
            script.kendall_tau_c(x, y)
        return
    signs = [np.sign(a - c) * np.sign(b - d) for (a, b), (c, d) in combinations(pairs, 2)]
    wanted = 2 * steps * sum(signs) / (len(pairs) ** 2 * (steps - 1))
    assert script.kendall_tau_c(x, y) == pytest.approx(wanted, rel=0, abs=1e-12)
    assert script.kendall_tau_c(y, x) == pytest.approx(wanted, rel=0, abs=1e-12)
    assert script.kendall_tau_c(np.negative(x), y) == pytest.approx(-wanted, rel=0, abs=1e-12)


def test_equal_order_is_one_and_opposite_order_minus_one():
    x = np.arange(7)
    assert script.kendall_tau_c(x, x**3) == 1.0
    assert script.kendall_tau_c(x, -x) == -1.0


def test_seventeen_thousand_rows_take_no_time():
    generator = np.random.default_rng(5)
    before = time.perf_counter()
    script.kendall_tau_c(generator.random(16_992), generator.integers(1, 5, 16_992))
    assert time.perf_counter() - before < 2


def test_tau_c_refuses_what_has_no_order():
    with pytest.raises(InputError, match=r"^x has 3 numbers and y 2: give"):
        script.kendall_tau_c([1, 2, 3], [1, 2])
    with pytest.raises(InputError, match=r"^y must be one row of finite numbers: leave out"):
        script.kendall_tau_c([1, 2], [1, np.nan])
    with pytest.raises(InputError, match=r"^x has 0 distinct values"):
        script.kendall_tau_c([], [])


def test_scores_of_images_of_one_row_are_the_corpus_scores():
    rows = [ROWS[0], ROWS[2], ROWS[3]]
    wanted = score_captions(
        {i: r["caption"] for i, r in enumerate(rows)},
        {i: r["references"] for i, r in enumerate(rows)},
    ).per_image
    for name, scores in script.score(ratings(rows)).items():
        assert scores == pytest.approx([wanted[i][name] for i in range(3)], rel=0, abs=1e-12)


def test_further_rows_of_an_image_do_not_change_the_document_frequencies():
    few = script.score(ratings([ROWS[0], ROWS[2], ROWS[3]]))["CIDEr-D"]
    all_rows = script.score(ratings(ROWS))["CIDEr-D"]
    assert [all_rows[0], all_rows[2], all_rows[3]] == pytest.approx(few, rel=0, abs=1e-12)
    naive = score_captions(
        {i: r["caption"] for i, r in enumerate(ROWS)},
        {i: r["references"] for i, r in enumerate(ROWS)},
    ).per_image
    assert naive[2]["CIDEr-D"] != pytest.approx(all_rows[2], rel=1e-3)


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write(tmp_path, *map(json.dumps, ROWS), "")
    assert script.main([file]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].startswith("5 rows, 3 distinct lists of references")
    assert [line.split()[0] for line in table[1:]] == ["BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr-D"]
    assert script.main([file, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["images"]) == (5, 3)
    scores = script.score(ratings(ROWS))
    for line, (name, tau) in zip(table[1:], found["kendall_tau_c"].items(), strict=True):
        assert tau == script.kendall_tau_c(scores[name], [r["score"] for r in ROWS])
        assert line.split() == [name, f"{tau:.3f}"]


def test_a_score_that_does_not_vary_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = write(tmp_path, *(json.dumps(r) for r in ROWS[:2]))  # one image: CIDEr-D is 0
    assert script.main([file]) == 0
    assert "CIDEr-D  not defined: all rows score the same" in capsys.readouterr().out
    assert script.main([file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kendall_tau_c"]["CIDEr-D"] is None


GOOD = json.dumps(ROWS[0])


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "has no row: give one JSON object a line"),
        ([GOOD, "{"], "line 2 of .* is not JSON"),
        (["[1]"], "line 1 of .* lacks caption, references, score: give all of"),
        ([GOOD, "", '{"caption": "a", "score": 1}'], "line 3 of .* lacks references: give all"),
        ([json.dumps(ROWS[0] | {"caption": 5})], "has a caption that is 5: give it as text"),
        ([json.dumps(ROWS[0] | {"references": "a"})], 'has references that are "a": give a list'),
        ([json.dumps(ROWS[0] | {"references": []})], r"has references that are \[\]: give a list"),
        ([json.dumps(ROWS[0] | {"references": ["a", 1]})], "has references that are"),
        ([json.dumps(ROWS[0] | {"score": "4"})], 'has a score that is "4": give a finite number'),
        ([json.dumps(ROWS[0] | {"score": True})], "has a score that is true: give a finite"),
        ([json.dumps(ROWS[0] | {"score": float("nan")})], "has a score that is NaN: give a"),
        ([json.dumps(ROWS[0] | {"score": 10**400})], "has a score that is 1000.*…: give a"),
        ([GOOD, GOOD], "all ratings are 4, which order nothing: give rows of at least two"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    lines: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert script.main([write(tmp_path, *lines)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert re.search(sentence, printed.err), printed.err


def test_a_missing_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert script.main([str(tmp_path / "none.jsonl")]) == 2
    assert "does not exist" in capsys.readouterr().err
