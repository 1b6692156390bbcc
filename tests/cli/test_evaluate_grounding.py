"""``vlm evaluate --grounding``: maps in a folder against masks, and every refusal."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm.cli import main
from vlm.formats.word_maps import WordMaps, write_word_maps

ARGUMENTS = ["--grounding", "maps", "--instances", "instances.json"]
THREE = ("pointing by region", "pointing by centre", "mass in mask")
LEFT, RIGHT = ([[x, 0, x + 10, 0, x + 10, 8, x, 8]] for x in (0, 10))
HALVES = np.float32([[0, 0, 0.5, 1], [0.5, 0, 1, 1]])


def instances(**names: str) -> dict:
    """Images of 20 x 8 pixels, a ring in the left half of each, a star in the right half."""
    rows = [(key, side) for key in range(len(names)) for side in (0, 1)]
    return {
        "images": [
            {"id": key, "file_name": name, "height": 8, "width": 20}
            for key, name in enumerate(names.values())
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("ring", "star", "moon"))],
        "annotations": [
            {"id": n, "image_id": key, "category_id": side, "segmentation": (LEFT, RIGHT)[side]}
            for n, (key, side) in enumerate(rows)
        ],
    }


def write(name: str, words: str, left: list[float], **more: Any) -> Path:
    """A file of maps under two heads of one layer, of which one looks the other way.

    Args:
        name: of the file, without its ending.
        words: of the text.
        left: of each word, what its map has in the left half.
        more: fields of the maps to have instead.
    """
    rows = np.stack([np.float32(left), 1 - np.float32(left)], axis=-1)
    weights = np.stack([rows, rows[:, ::-1]])[None]
    nan = np.full(len(rows), np.nan, dtype=np.float32)
    maps = WordMaps(tuple(words.split()), weights, rows, "rollout", nan, HALVES, f"{name}.jpg")
    path = Path("maps", f"{name}.npz")
    write_word_maps(path, maps._replace(**more))
    return path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two images with their maps."""
    monkeypatch.chdir(tmp_path)
    Path("maps").mkdir()
    Path("instances.json").write_text(json.dumps(instances(a="photos/a.jpg", b="photos/b.jpg")))
    write("a", "a ring by a star", [0.5, 0.9, 0.5, 0.5, 0.2])
    write("b", "two stars , a moon", [0.5, 0.6, 0.5, 0.5, 0.5])
    return tmp_path


def evaluated(*more: str) -> dict:
    assert main(["evaluate", *ARGUMENTS, "--output", "scores.json", *more]) == 0
    return json.loads(Path("scores.json").read_text())


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one sentence of a refusal that leaves nothing written."""
    before = {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()}
    assert main(["evaluate", *arguments]) == 2
    assert {file: file.read_bytes() for file in Path().rglob("*") if file.is_file()} == before
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("vlm: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


# --- Scores ----------------------------------------------------------------------------------


def test_scores_by_reduction(capsys):
    scores = evaluated()
    names = ["rollout", "last", "mean", "layer-1", "layer-1-head-1", "layer-1-head-2"]
    assert list(scores) == names
    # Of three words, two look at their object; nobody looks at a moon.
    own = scores["rollout"]
    assert own["words"] == 3
    assert [own[name] for name in THREE] == pytest.approx([2 / 3, 2 / 3, 2.1 / 3])
    assert own["size-free mass"] == pytest.approx(1.4)
    assert scores["layer-1-head-1"][THREE[0]] == own[THREE[0]]
    assert scores["layer-1-head-2"][THREE[0]] == pytest.approx(1 / 3)
    # The mean of both heads is even.
    assert [scores["mean"][name] for name in THREE] == pytest.approx([0.5, 0.5, 0.5])
    assert scores["mean"]["entropy"] == pytest.approx(1)
    assert scores["last"] == scores["layer-1"] == scores["mean"]
    for row in scores.values():
        assert [row["ceiling"][name] for name in THREE] == [1, 1, 1]
        for baseline in ("uniform", "centre"):
            assert [row["baselines"][baseline][name] for name in THREE] == [0.5, 0.5, 0.5]
        low, high = row["interval"]
        assert low <= row[THREE[0]] <= high
        assert row["of"]["images"] == row["of"]["files"] == 2
        assert row["of"]["words not in the picture"] == 1
        assert row["unique"]["words"] == 3
    # Of a: 2 of 2 words, of b: 0 of 1.
    assert own["interval"] == [0, 1]
    over = own["over centre"][THREE[0]]
    assert over == {"points": pytest.approx(1 / 6), "interval": [-0.5, 0.5]}
    assert own["per category"]["star"] == {THREE[0]: 0.5, "words": 2}
    # a's objects meet b's one map, which looks left; b's star the two of a, one of them right.
    assert own["baselines"]["shuffled"][THREE[0]] == pytest.approx((1 + 0 + 0.5) / 3)


def test_the_table(capsys):
    evaluated()
    lines = capsys.readouterr().out.splitlines()
    columns = ["by region", "95 %", "by centre", "mass", "size-free", "entropy", "unique"]
    assert re.split(r"\s{2,}", lines[0].strip()) == columns
    titles = [line[:26].strip() for line in lines[1:10]]
    assert titles == [
        *("rollout", "last", "mean", "layer-1", "layer-1-head-1 (best head"),
        *("ceiling (oracle)", "uniform", "centre", "shuffled (rollout)"),
    ]
    assert lines[1].split()[1:] == ["66.7", "0.0-100.0", "66.7", "70.0", "1.40", "0.72", "66.7"]
    assert lines[6].split()[2:] == ["100.0", "100.0", "100.0", "2.00", "100.0"]
    heat = lines.index("by region, head by head:")
    assert [line.split() for line in lines[heat + 1 : heat + 3]] == [
        ["1", "2"],
        ["layer", "1", "66.7", "*", "33.3", "-"],
    ]
    assert lines[heat + 4].startswith(
        "words: 3 in 2 of the images, 3 of them of an object that is "
    )
    assert "; left out: 1 whose object is not in the picture, 0 whose" in lines[heat + 4]
    assert lines[-1].startswith("signature: grounding|syn:own-")


def test_words_one_a_line():
    evaluated("--per-image", "words.jsonl")
    rows = [json.loads(line) for line in Path("words.jsonl").read_text().splitlines()]
    told = [(row["image_id"], row["file"], row["word"], row["category"]) for row in rows]
    assert told == [
        (0, "a.npz", "ring", "ring"),
        (0, "a.npz", "star", "star"),
        (1, "b.npz", "stars", "star"),
    ]
    assert rows[0]["unique"] is True
    assert rows[0]["scores"]["rollout"]["mass in mask"] == pytest.approx(0.9)


def test_boxes_without_an_outline_are_left_out(capsys):
    tree = instances(a="a.jpg", b="b.jpg")
    tree["annotations"][3] = {**tree["annotations"][3], "segmentation": [], "bbox": [10, 0, 10, 8]}
    Path("instances.json").write_text(json.dumps(tree))
    row = evaluated()["rollout"]
    assert (row["words"], row["of"]["words without a mask"]) == (2, 1)
    # One image is left, so there is no other whose maps could be met.
    assert row["baselines"]["shuffled"][THREE[0]] is None
    assert "shuffled not computed: it needs maps of two images\n" in capsys.readouterr().out


def test_names_of_a_table(capsys):
    Path("table.txt").write_text("ring, hoop\nstar, asterisk\nmoon, crescent\n")
    write("a", "hoops by an asterisk", [0.9, 0.5, 0.5, 0.2])
    row = evaluated("--synonyms", "table.txt")["rollout"]
    assert row["words"] == 3
    assert [row["per category"][name]["words"] for name in ("ring", "star")] == [1, 2]
    assert evaluated()["rollout"]["words"] == 1


def test_the_signature_is_of_what_is_scored():
    def signature() -> str:
        return evaluated()["rollout"]["of"]["signature"]

    first = signature()
    write("a", "a ring by a star", [0.5, 0.1, 0.5, 0.5, 0.7])
    assert signature() == first  # other maps of the same words
    write("a", "a ring by a moon", [0.5, 0.9, 0.5, 0.5, 0.2])
    assert signature() != first


# --- Files -----------------------------------------------------------------------------------


def test_files_of_other_programs():
    # No reduction, no image, 64 bits.
    words = np.array(["a", "ring"])
    rows = np.array([[0.5, 0.5], [0.8, 0.2]])
    for file in Path("maps").iterdir():
        file.unlink()
    np.savez(
        "maps/b.npz",
        weights=rows[None, None],
        map=rows,
        words=words,
        probabilities=np.ones(2),
        boxes=HALVES.astype(float),
    )
    scores = evaluated()
    assert next(iter(scores)) == "map"
    assert scores["map"]["mass in mask"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("file", "image"),
    [
        ("x", "/elsewhere/b.jpg"),
        ("x", "C:\\photos\\b.jpg"),
        ("x", "b.png"),  # another copy of it
        ("b", "upload.jpg"),
        ("b-2", ""),
        ("b-2", "upload.jpg"),
    ],
)
def test_images_are_found(file: str, image: str):
    Path("maps/b.npz").unlink()
    write(file, "a ring", [0.5, 0.5], image=image)
    row = evaluated("--per-image", "words.jsonl")["rollout"]
    assert row["of"]["images"] == 2
    rows = map(json.loads, Path("words.jsonl").read_text().splitlines())
    assert [row["image_id"] for row in rows if row["file"] == f"{file}.npz"] == [1]


def test_an_image_whose_name_ends_in_a_number_is_itself():
    tree = instances(a="a.jpg", b="b.jpg", c="b-2.jpg")
    Path("instances.json").write_text(json.dumps(tree))
    write("b-2", "a ring", [0.5, 0.5], image="")
    evaluated("--per-image", "words.jsonl")
    rows = map(json.loads, Path("words.jsonl").read_text().splitlines())
    assert [row["image_id"] for row in rows] == [0, 0, 2, 1]


def test_two_texts_of_one_image_are_one_image():
    write("b-2", "a ring", [1.0, 1.0], image="b.jpg")
    row = evaluated()["rollout"]
    assert (row["words"], row["of"]["images"], row["of"]["files"]) == (4, 2, 3)


def test_no_torch():
    script = (
        "import sys; from vlm.cli import main; "
        f"assert main(['evaluate', *{ARGUMENTS}]) == 0; print('|'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split("|")}
    assert "numpy" in loaded
    assert not loaded & {"torch", "lightning", "timm", "PIL"}


# --- Refusals --------------------------------------------------------------------------------


def test_an_image_that_is_not_listed(capsys):
    write("c-3", "a ring", [0.5, 0.5])
    told = refused(capsys, *ARGUMENTS)
    assert "maps/c-3.npz is of 'c-3.jpg', which instances.json does not list; give the" in told
    tree = instances(a="a.jpg", b="b.jpg", c="x/c.jpg", d="y/c.jpg")
    Path("instances.json").write_text(json.dumps(tree))
    told = refused(capsys, *ARGUMENTS)
    assert "which instances.json lists more than once; give the instances of all images" in told


def test_no_maps(capsys):
    for file in Path("maps").iterdir():
        file.unlink()
    assert "'maps' has no maps (.npz); vlm attend CHECKPOINT IMAGE --npz" in refused(
        capsys, *ARGUMENTS
    )
    told = refused(capsys, "--grounding", "nosuch", *ARGUMENTS[2:])
    assert "'nosuch' is no folder; --grounding takes one with maps (.npz)" in told


def test_a_file_that_is_none(capsys):
    whole = Path("maps/a.npz").read_bytes()
    spoilt = whole[:300] + bytes(40) + whole[340:]
    for content in (b"PK\x03\x04 and no more", b"", b"text", whole[:500], spoilt):
        Path("maps/b.npz").write_bytes(content)
        assert "maps/b.npz is no file of maps (.npz)" in refused(capsys, *ARGUMENTS)
    with Path("maps/b.npz").open("wb") as file:
        np.save(file, HALVES)
    assert "maps/b.npz is no file of maps (.npz)" in refused(capsys, *ARGUMENTS)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("map", [[0.9, 0.2], [0.5, 0.5]], "a row of map does not sum to 1; write the file anew"),
        ("boxes", ["a"], "boxes has values that are no numbers; write it anew"),
        ("boxes", 0.5, "boxes is a single value; write the file anew"),
        ("words", ["ring"], "1 words and 2 boxes need map of (1, 2), got (2, 2); write"),
    ],
)
def test_a_field_that_is_wrong(capsys, field, value, sentence):
    with np.load(write("b", "a ring", [0.5, 0.5])) as file:
        content = {**file, field: np.array(value)}
    np.savez("maps/b.npz", **content)
    assert f"maps/b.npz: {sentence}" in refused(capsys, *ARGUMENTS)


@pytest.mark.parametrize(
    "boxes",
    [
        [[0, 0, 10, 8], [10, 0, 20, 8]],  # in pixels
        [[0.5, 0, 0.2, 1], [0, 0, 1, 1]],  # as width and height
        [[np.nan] * 4, [0, 0, 1, 1]],
    ],
)
def test_boxes_of_another_kind(capsys, boxes):
    write("b", "a ring", [0.5, 0.5], boxes=np.float32(boxes))
    told = refused(capsys, *ARGUMENTS)
    assert "maps/b.npz: expected boxes as x0 y0 x1 y1 in [0, 1] of the image, got others" in told


def test_maps_of_two_models(capsys):
    one = np.full((3, 1, 2, 2), 0.5, dtype=np.float32)
    write("b", "a ring", [0.5, 0.5], weights=one)
    told = refused(capsys, *ARGUMENTS)
    assert "maps/b.npz has maps of 3 layers and 1 heads (rollout, 9 reductions)" in told
    write("b", "a ring", [0.5, 0.5], reduction="occlusion")
    told = refused(capsys, *ARGUMENTS)
    assert "where a.npz has other ones (rollout, 6 reductions); score files of one" in told


def test_no_word_names_an_object(capsys):
    write("a", "grass and a moon", [0.5] * 4)
    write("b", "grass", [0.5])
    told = refused(capsys, *ARGUMENTS)
    assert "maps: no word of 2 files names an object that instances.json has a mask of" in told
    assert "(1 name one that is not in the picture, 0 one without a mask)" in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (ARGUMENTS[:2], "expected --grounding and --instances, got no --instances; give both"),
        (["r.json", *ARGUMENTS], "--grounding scores all maps in maps, and got a file of results"),
        ([*ARGUMENTS, "--split", "s"], "--grounding scores all maps in maps, and got --split as"),
        ([*ARGUMENTS, "--partial"], "--grounding scores all maps in maps, and got --partial as"),
        ([*ARGUMENTS, "--metrics", "BLEU"], "--metrics belongs to captions (--references) and not"),
        ([*ARGUMENTS, "--references", "r"], "got several, --references for captions, --grounding"),
        (["--references", "r"], "expected a file of results to score by --references, got none"),
        ([], "expected one kind of references, got none; give --references for captions, "),
        ([*ARGUMENTS, "--output", "maps/a.npz"], "--output names maps/a.npz, which is read; name"),
        ([*ARGUMENTS, "--output", "instances.json"], "--output names instances.json, which is re"),
    ],
)
def test_options_that_do_not_fit(capsys, arguments, sentence):
    assert sentence in refused(capsys, *arguments)
