"""The caption scores from raw text: reference programs, invariances, refusals."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics import CaptionScores, score_captions

NASTY = Path(__file__).resolve().parents[1] / "goldens" / "nasty"
SETS = ["coco_human_loo", "coco_corrupt_varrefs", "coco_fakecap_subset", "flickr8k_loo", "nasty"]
NAMES = {f"BLEU-{n}": f"Bleu_{n}" for n in (1, 2, 3, 4)} | {"ROUGE-L": "ROUGE_L"}


def read(folder: Path) -> tuple[dict[int, str], dict[int, list[str]], dict]:
    """Candidates, references and expected scores of a set in COCO formats."""
    human = json.loads((folder / "refs.json").read_text())
    references: dict[int, list[str]] = {image["id"]: [] for image in human["images"]}
    for annotation in human["annotations"]:
        references[annotation["image_id"]].append(annotation["caption"])
    results = json.loads((folder / "cands.json").read_text())
    candidates = {result["image_id"]: result["caption"] for result in results}
    return candidates, references, json.loads((folder / "expected.json").read_text())


def assert_equal_to_the_reference(folder: Path):
    candidates, references, expected = read(folder)
    scores = score_captions(candidates, references)
    assert list(scores.per_image) == list(references)
    pairs = [(scores.corpus, expected["corpus"])]
    pairs += [(row, expected["per_image"][str(image)]) for image, row in scores.per_image.items()]
    for row, wanted in pairs:
        assert list(row) == [*NAMES, "CIDEr-D"]
        assert {name: row[name] for name in NAMES} == {ours: wanted[n] for ours, n in NAMES.items()}
        assert row["CIDEr-D"] == pytest.approx(wanted["CIDEr"], rel=0, abs=1e-12)


@pytest.mark.parametrize("name", [*SETS, "tiny_1", "tiny_2", "tiny_dup"])
def test_equals_the_reference(shared: Path, name: str):
    assert_equal_to_the_reference(shared / "goldens" / "captions" / name)  # pycocoevalcap 1.2


def test_nasty_captions_equal_the_reference():
    assert_equal_to_the_reference(NASTY)


def test_a_published_models_captions_of_val2017(shared: Path):
    # 133.3 by the official pipeline; 97.5 on untokenised strings.
    folder = shared / "data" / "coco_val2017"
    references: dict[int, list[str]] = {}
    with gzip.open(folder / "captions_val2017.json.gz") as file:
        for annotation in json.load(file)["annotations"]:
            references.setdefault(annotation["image_id"], []).append(annotation["caption"])
    results = json.loads((folder / "captions_val2017_vinvl_results.json").read_text())
    scores = score_captions({r["image_id"]: r["caption"] for r in results}, references)
    assert len(scores.per_image) == 5000
    assert round(100 * scores.corpus["CIDEr-D"], 1) == 133.3


# Nothing here hangs on the next caption: there is no final initial.
CAPTION = st.lists(
    st.sampled_from(["A", "dog's", "runs", "on", "the", "St.", "grass,", "red", "bus."]),
    max_size=7,
).map(" ".join)
IMAGES = st.lists(
    st.tuples(CAPTION, st.lists(CAPTION, min_size=1, max_size=3)), min_size=2, max_size=5
)
Images = list[tuple[str, list[str]]]


def score(images: Images) -> CaptionScores[int]:
    candidates = {i: candidate for i, (candidate, _) in enumerate(images)}
    return score_captions(candidates, {i: captions for i, (_, captions) in enumerate(images)})


def assert_close(first: CaptionScores[int], second: CaptionScores[int]):
    assert first.corpus == pytest.approx(second.corpus, rel=0, abs=1e-12)
    for image, row in first.per_image.items():
        assert row == pytest.approx(second.per_image[image], rel=0, abs=1e-12)


@settings(deadline=None)
@given(IMAGES, st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing(images: Images, random):
    candidates = {i: candidate for i, (candidate, _) in enumerate(images)}
    shuffled = list(enumerate(captions for _, captions in images))
    random.shuffle(shuffled)
    scores = score_captions(candidates, dict(shuffled))
    assert list(scores.per_image) == [image for image, _ in shuffled]
    assert_close(scores, score(images))


@settings(deadline=None)
@given(IMAGES)
def test_order_of_references_changes_nothing(images: Images):
    turned = [(candidate, captions[::-1]) for candidate, captions in images]
    assert_close(score(turned), score(images))


@settings(deadline=None)
@given(IMAGES, st.lists(st.sampled_from(["two", "cats", "on", "red"]), min_size=4, max_size=7))
def test_a_copy_of_the_reference_is_best(images: Images, words: list[str]):
    human = " ".join(words)
    candidate, _ = images[0]
    other = score([(candidate, [human]), *images[1:]]).per_image[0]
    copy = score([(human, [human]), *images[1:]]).per_image[0]
    assert copy["BLEU-4"] == pytest.approx(1.0)
    assert copy["ROUGE-L"] == 1.0
    assert all(copy[name] >= other[name] - 1e-12 for name in copy)


@settings(deadline=None)
@given(CAPTION, st.lists(CAPTION, min_size=1, max_size=3))
def test_one_image_has_no_cider_d(candidate: str, captions: list[str]):
    assert score([(candidate, captions)]).corpus["CIDEr-D"] == 0.0


def test_case_and_final_period_change_nothing():
    references = {7: ["A dog runs."], 11: ["two cats sit"]}
    plain = score_captions({7: "a dog runs", 11: "two cats"}, references)
    assert score_captions({7: "A DOG RUNS .", 11: "Two cats."}, references) == plain


def test_missing_candidates_are_named_five_at_most():
    references = {image: ["a dog"] for image in range(7)}
    with pytest.raises(
        InputError, match=r"^images 0, 1, 2, 3, 4 and 2 more have references but no"
    ):
        score_captions({}, references)


def test_foreign_candidates_are_named():
    with pytest.raises(InputError, match=r"^images 'b', 'c' have a candidate but no references"):
        score_captions({"a": "x", "b": "x", "c": "x"}, {"a": ["x"]})


def test_image_without_references_is_named():
    with pytest.raises(InputError, match=r"^image 3 has an empty list of references"):
        score_captions({2: "x", 3: "x"}, {2: ["x"], 3: []})


def test_captions_that_are_no_strings_are_named():
    with pytest.raises(InputError, match=r"^image 3 has a candidate that is not a string"):
        score_captions({2: "x", 3: None}, {2: ["x"], 3: ["x"]})  # pyright: ignore
    for wrong in (["x", 5], "a single caption"):
        with pytest.raises(InputError, match=r"^image 2 has references that are not a list"):
            score_captions({2: "x", 3: "x"}, {2: wrong, 3: ["x"]})  # pyright: ignore


def test_a_single_score_is_that_of_its_family():
    references = {7: ["a dog runs on grass"], 11: ["two cats sit"]}
    captions = {7: "a dog runs", 11: "two cats sit"}
    whole = score_captions(captions, references)
    part = score_captions(captions, references, metrics=["CIDEr-D", "BLEU-2"])
    assert part.corpus == {name: whole.corpus[name] for name in ("BLEU-2", "CIDEr-D")}
    assert list(part.per_image[7]) == ["BLEU-2", "CIDEr-D"]
    assert part.signature.startswith("bleu+cider-d|")
    with pytest.raises(InputError, match="there is no caption metric BLEU-5; choose of BLEU, "):
        score_captions(captions, references, metrics=["BLEU-5"])


def test_no_image_is_refused():
    with pytest.raises(InputError, match="the references hold no image"):
        score_captions({}, {})


def test_imports_neither_torch_nor_lightning():
    code = "import sys, vlm.metrics; print(sorted({'torch', 'lightning'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
