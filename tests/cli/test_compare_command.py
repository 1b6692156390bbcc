"""``vlm compare``: what it tells, where its arguments may stand, what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vlm.cli import VERBS, main
from vlm.metrics.compare import compare_captions

REFERENCES = {
    7: ["a dog runs on grass", "the dog runs"],
    11: ["two cats on a mat", "cats sit on it"],
    13: ["a red bus in town", "the bus is red"],
}
A = {7: "a dog runs on sand", 11: "two cats", 13: "a red bus in town"}
B = {7: "the dog runs", 11: "two cats on a mat", 13: "a train"}
C = {7: "a dog", 11: "cats on a mat", 13: "a bus in town"}


def results(captions: dict) -> str:
    return json.dumps([{"image_id": key, "caption": text} for key, text in captions.items()])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three result files, the same as folders of runs, and references of three images."""
    monkeypatch.setitem(VERBS, "compare", ("compare", "two systems on the same images"))
    for name, captions in {"a": A, "b": B, "c": C}.items():
        (tmp_path / f"{name}.json").write_text(results(captions))
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(results(captions))
    tree = {
        "images": [{"id": key, "file_name": f"{key}.jpg"} for key in REFERENCES],
        "annotations": [
            {"image_id": key, "caption": text} for key in REFERENCES for text in REFERENCES[key]
        ],
    }
    (tmp_path / "references.json").write_text(json.dumps(tree))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """The JSON that is printed."""
    assert main(["compare", *arguments, "--references", "references.json", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a refusal."""
    assert main(["compare", *arguments]) == 2
    captured = capsys.readouterr()
    assert not captured.out
    sentence = captured.err.strip()
    assert sentence.startswith("vlm: error: ")
    assert "\n" not in sentence
    return sentence


def test_json_is_the_comparison_at_full_precision(folder, capsys):
    record = told(capsys, "a.json", "b.json", "--samples", "97", "--seed", "3")
    wanted = compare_captions({"a": A}, {"b": B}, REFERENCES, samples=97, seed=3)
    assert list(record["metrics"]) == ["BLEU-4", "ROUGE-L", "CIDEr-D"]
    for name, row in wanted.metrics.items():
        assert record["metrics"][name] == row._asdict() | {"interval": list(row.interval)}
    assert record["signature"] == wanted.signature
    assert record["resampling"] == wanted.resampling
    assert record["systems"] == {"a": ["a.json"], "b": ["b.json"]}
    assert record["images"] == 3
    assert [row["image_id"] for row in record["changed most"]["gained"]] == [11, 7]
    (lost,) = record["changed most"]["lost"]
    assert lost == {
        "image_id": 13,
        "CIDEr-D": {"a": wanted.lost[0].a, "b": wanted.lost[0].b},
        "captions": {"a": [A[13]], "b": [B[13]]},
    }


def test_the_table_for_people(folder, capsys):
    assert main(["compare", "a.json", "b.json", "--references", "references.json"]) == 0
    shown = capsys.readouterr().out
    row = compare_captions({"a": A}, {"b": B}, REFERENCES).metrics["ROUGE-L"]
    low, high = (f"{100 * end:+.2f}" for end in row.interval)
    (line,) = [line for line in shown.splitlines() if line.startswith("ROUGE-L")]
    scores = [f"{100 * row.a:.2f}", f"{100 * row.b:.2f}", f"{100 * row.difference:+.2f}"]
    assert line.split() == ["ROUGE-L", *scores, f"[{low},", f"{high}]", f"{row.p_value:.2g}"]
    assert "system a: a.json\nsystem b: b.json\n" in shown
    assert "    a: a red bus in town\n    b: a train\n" in shown
    assert "3 images\nsignature: bleu+rouge-l+cider-d|" in shown


def test_output_is_what_json_prints(folder, capsys):
    record = told(capsys, "a.json", "b.json", "--output", "new/comparison.json")
    assert json.loads((folder / "new" / "comparison.json").read_text()) == record


@pytest.mark.parametrize(
    "arguments",
    [
        ["a", "c", "--", "b"],
        ["--samples", "97", "a", "c", "--", "b", "--seed", "3"],
        ["a", "--seed", "3", "c", "--samples=97", "--", "b"],
        ["a", "c", "--", "--samples", "97", "--seed", "3", "b"],
    ],
)
def test_runs_of_two_systems_with_options_anywhere(folder, capsys, arguments):
    record = told(capsys, *arguments)
    assert record["systems"] == {"a": ["a", "c"], "b": ["b"]}
    samples, seed = (97, 3) if "3" in arguments else (1000, 0)
    runs = {"a": A, "c": C}
    wanted = compare_captions(runs, {"b": B}, REFERENCES, samples=samples, seed=seed)
    row = wanted.metrics["CIDEr-D"]
    assert record["metrics"]["CIDEr-D"] == row._asdict() | {"interval": list(row.interval)}


@pytest.mark.parametrize(
    "arguments",
    [["a.json", "b.json"], ["a.json", "--seed", "0", "b.json"], ["a.json", "--", "b.json"]],
)
def test_two_paths_need_no_separator(folder, capsys, arguments):
    assert told(capsys, *arguments)["systems"] == {"a": ["a.json"], "b": ["b.json"]}


def test_several_runs_are_told_to_people(folder, capsys):
    files = ["a", "c", "--", "b", "--references", "references.json"]
    assert main(["compare", *files]) == 0
    shown = capsys.readouterr().out
    assert "system a: a, c\nsystem b: b\n" in shown
    assert "    a: a red bus in town\n    a: a bus in town\n    b: a train\n" in shown
    assert "means over 2 and 1 runs" in shown


def test_a_system_against_itself(folder, capsys):
    for row in told(capsys, "a.json", "a")["metrics"].values():
        assert (row["difference"], row["interval"], row["p_value"]) == (0, [0, 0], 1)


def test_a_family_stands_for_its_scores(folder, capsys):
    record = told(capsys, "a", "b", "--metrics", "BLEU,CIDEr-D")
    assert list(record["metrics"]) == [*(f"BLEU-{n}" for n in (1, 2, 3, 4)), "CIDEr-D"]


def test_chosen_metrics_alone(folder, capsys):
    record = told(capsys, "a", "b", "--metrics", "CIDEr,BLEU-1")
    assert list(record["metrics"]) == ["BLEU-1", "CIDEr"]
    assert record["signature"].startswith("bleu+cider|")


def test_digit_strings_are_ids_and_odd_captions_are_written(folder, capsys):
    odd = B | {11: "two\ncats \U0001f600 on"}
    (folder / "b.json").write_text(results({f"{key:012}": text for key, text in odd.items()}))
    record = told(capsys, "a.json", "b.json", "--output", "m.json")
    assert record["images"] == 3
    assert json.loads((folder / "m.json").read_text()) == record
    assert main(["compare", "a.json", "b.json", "--references", "references.json"]) == 0
    assert "    b: two cats \U0001f600 on\n" in capsys.readouterr().out


def test_ids_of_one_side_are_named_with_their_file(folder, capsys):
    files = ["a.json", "b.json", "--references", "references.json", "--output", "m.json"]
    (folder / "b.json").write_text(results({key: B[key] for key in (7, 13)}))
    assert "image 11 has references but no caption in b.json; both" in refused(capsys, *files)
    (folder / "b.json").write_text(results(B | {17: "a", 19: "b"}))
    sentence = refused(capsys, *files)
    assert "images 17, 19 have a caption in b.json but no references; both" in sentence
    assert not (folder / "m.json").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a"], "expected two systems, as A B or as A ... -- B ..., got a; see vlm compare"),
        ([], "got no path"),
        (["a", "b", "c"], "got a b c"),
        (["--", "b"], "got -- b"),
        (["a", "--"], "got a --"),
        (["a", "--", "b", "--", "c"], "got a -- b -- c"),
        (["a", "b", "--bogus"], "unrecognized arguments: --bogus"),
        (["a", "b", "--samples", "many"], "invalid int value: 'many'"),
        (["a", "b", "--samples", "0"], "expected 1 or more samples"),
        (
            ["a", "b", "--metrics", "BLEU-4,SPICE"],
            "names SPICE, which is not here; choose of BLEU, BLEU-1,",
        ),
        (["a", "b", "--metrics", ""], "expected names parted by single commas, got ''; choose of"),
        (["a", "d"], "file d does not exist"),
        (["a", "empty"], "folder empty holds no results.json; give a result file, or"),
        (["a", "a", "--", "b"], "system a has a twice; give each run once"),
        (["a", "./a.json", "a.json", "--", "b"], "has a.json twice, also as ./a.json; give each"),
        (["a", "b", "--output", "b/results.json"], "--output names b/results.json, which is read"),
        (["a", "b", "--output", "empty"], "'empty' is there and no file"),
        (["a", "references.json"], "references.json is not a result file"),
    ],
)
def test_what_cannot_be_compared(folder, capsys, arguments, sentence):
    (folder / "empty").mkdir()
    assert sentence in refused(capsys, "--references", "references.json", *arguments)


def test_references_are_needed(folder, capsys):
    assert "expected two systems, as A B or as A ... -- B ..., got a" in refused(capsys, "a")
    assert "expected --references FILE" in refused(capsys, "a", "--", "b")
    assert "expected one argument" in refused(capsys, "a", "--references", "--", "b")


def test_the_command_loads_no_torch():
    code = (
        "import sys, vlm.cli.compare; print(sorted({'torch', 'lightning', 'PIL'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
