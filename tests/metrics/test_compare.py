"""Comparisons of two systems: hand cases, direct computation, simulation, refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlm.errors import InputError
from vlm.metrics import resampling, score_captions
from vlm.metrics.bleu import bleu, bleu_from_statistics, bleu_statistics
from vlm.metrics.compare import METRICS, compare_captions
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.resampling import Difference, Floats, difference

NASTY = Path(__file__).resolve().parents[1] / "goldens" / "nasty"
MEAN = METRICS["CIDEr-D"].score
BLEU_4 = METRICS["BLEU-4"].score
WORDS = ["a", "dog", "cat", "runs", "sits", "on", "the", "red", "mat", "bus"]


def compare(a: object, b: object, *, samples: int = 997, seed: int = 5) -> Difference:
    """The difference of mean scores, ``(runs, I)`` of each system."""
    first, second = (np.asarray(system, dtype=float)[:, :, None] for system in (a, b))
    return difference(first, second, MEAN, samples=samples, seed=seed)


def written(seed: int, images: int = 23) -> dict[int, str]:
    """Captions of images, of five to eight words."""
    rng = np.random.default_rng(seed)
    return {100 + i: " ".join(rng.choice(WORDS, rng.integers(5, 9))) for i in range(images)}


A, B = written(1), written(2)
REFERENCES = {
    image: [text, (B if image % 3 == 0 else A)[image].replace("dog", "bus")]
    for image, text in written(3).items()
}


def test_two_images_by_hand():
    # Differences 1 and 3 of the images: resamples give 1, 2, 2 or 3; exchanges 2, 1, -1 or -2.
    row = compare([[0.0, 0.0]], [[1.0, 3.0]])
    assert row[:3] == (0.0, 2.0, 2.0)
    assert row.interval == (1.0, 3.0)
    assert row.p_value == pytest.approx(0.5, abs=0.05)


def test_two_runs_by_hand():
    # Drawn twice, runs of score 0 and 1 give 0, 0.5 or 1; the images are all alike.
    row = compare([[0.0] * 7, [1.0] * 7], [[0.5] * 7])
    assert row[:3] == (0.5, 0.5, 0.0)
    assert row.interval == (-0.5, 0.5)
    assert row.p_value == 1.0


def test_an_exchange_moves_the_mean_of_the_runs():
    # Averaged over runs, only the first image differs, so every exchange is as large.
    row = compare([[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]], [[0.9, 0.4, 0.4]])
    assert row.difference == pytest.approx(0.7 / 3)
    assert row.p_value == 1.0


def test_the_smallest_p_value():
    assert compare([[0.0] * 31], [[1.0] * 31], samples=99).p_value == 1 / 100


def test_interval_of_means_equals_direct_computation():
    rng = np.random.default_rng(0)
    a, b = rng.gamma(2, size=(2, 1, 53))
    row = compare(a, b, samples=1009, seed=7)
    drawn = np.random.default_rng(7).integers(53, size=(1009, 53))
    direct = np.quantile((b - a)[0][drawn].mean(axis=1), [0.025, 0.975])
    assert row.interval == pytest.approx(direct, abs=1e-12)
    spread = 1.96 * (b - a).std() / np.sqrt(53)  # large samples: the normal interval
    assert np.ptp(row.interval) == pytest.approx(2 * spread, rel=0.1)


def test_a_resample_of_bleu_is_the_score_of_the_drawn_images():
    # A mean of sentence scores would be another number, or counted matches would have to differ.
    names = [name for name in METRICS if name.startswith("BLEU")]
    row = compare_captions({"a": A}, {"b": B}, REFERENCES, metrics=names, samples=1, seed=11)
    drawn = np.array(list(REFERENCES))[np.random.default_rng(11).integers(23, size=23)]
    again = {number: REFERENCES[image] for number, image in enumerate(drawn)}
    first, second = (
        score_captions({number: run[image] for number, image in enumerate(drawn)}, again).corpus
        for run in (A, B)
    )
    for name in names:
        assert row.metrics[name].interval == (second[name] - first[name],) * 2


def test_a_resample_of_cider_keeps_the_document_frequencies():
    row = compare_captions({"a": A}, {"b": B}, REFERENCES, samples=1, seed=11).metrics["CIDEr-D"]
    first, second = (score_captions(run, REFERENCES).per_image for run in (A, B))
    gain = [second[image]["CIDEr-D"] - first[image]["CIDEr-D"] for image in REFERENCES]
    drawn = np.random.default_rng(11).integers(23, size=23)
    assert row.interval[0] == pytest.approx(np.mean(np.array(gain)[drawn]), abs=1e-12)


def equal_systems(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Scores that share how hard an image is."""
    hard = rng.gamma(2, size=61)
    return hard + rng.gamma(2, size=(1, 61)), hard + rng.gamma(2, size=(1, 61))


def equal_counts(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Statistics of BLEU: ten words an image, matches of one probability."""
    lengths = np.full((61, 2), 10.0)
    guesses = np.tile([10, 9, 8, 7], (61, 1))
    matches = rng.binomial(guesses, [0.6, 0.5, 0.4, 0.3], size=(2, 61, 4))
    a, b = (np.hstack([lengths, counts, guesses]) for counts in matches)
    return a[None], b[None]


@pytest.mark.parametrize(
    ("draw", "score"), [(equal_systems, MEAN), (equal_counts, BLEU_4)], ids=["mean", "BLEU-4"]
)
def test_equal_systems_are_found_different_as_often_as_said(draw, score):
    rng = np.random.default_rng(13)
    rows = []
    for seed in range(300):
        a, b = (system.reshape(1, 61, -1) for system in draw(rng))
        rows.append(difference(a, b, score, samples=199, seed=seed))
    covered = np.mean([row.interval[0] <= 0 <= row.interval[1] for row in rows])
    assert 0.91 <= covered <= 0.98
    p_values = np.sort([row.p_value for row in rows])
    distance = np.abs(p_values - np.arange(1, 301) / 300).max()
    assert distance < 1.63 / np.sqrt(300)  # Kolmogorov and Smirnov, at 1 %


def test_runs_widen_the_interval_to_cover_other_runs():
    rng = np.random.default_rng(17)
    covered = []
    for seed in range(200):
        a, b = rng.normal(size=(2, 7, 1)) + 0.5 * rng.normal(size=(2, 7, 41))
        of_all, of_one = compare(a, b, samples=199, seed=seed), compare(a[:1], b[:1], samples=199)
        covered.append([low <= 0 <= high for low, high in (of_all.interval, of_one.interval)])
    of_all, of_one = np.mean(covered, axis=0)
    assert of_all > 0.87
    assert of_one < 0.3  # one run says nothing of others


def test_memory_is_bounded_by_drawing_in_parts(monkeypatch: pytest.MonkeyPatch):
    a, b = np.random.default_rng(0).gamma(2, size=(2, 1, 53))
    whole = compare(a, b)
    monkeypatch.setattr(resampling, "_CHUNK", 53 * 7)
    parts = compare(a, b)
    assert parts.interval == pytest.approx(whole.interval, abs=1e-12)
    assert parts.p_value == pytest.approx(whole.p_value, abs=0.05)


def test_equal_captions_do_not_differ():
    result = compare_captions({"a": A}, {"b": dict(A)}, REFERENCES, metrics=list(METRICS))
    for row in result.metrics.values():
        assert row.a == row.b
        assert row[2:] == (0.0, (0.0, 0.0), 1.0)
    assert result.gained == result.lost == []


def test_one_changed_image_is_no_evidence():
    changed = A | {103: "a red bus"}
    result = compare_captions({"a": A}, {"b": changed}, REFERENCES, metrics=list(METRICS))
    assert all(row.difference != 0 and row.p_value == 1.0 for row in result.metrics.values())


def test_scores_are_those_of_score_captions():
    human = json.loads((NASTY / "refs.json").read_text())
    references: dict[int, list[str]] = {image["id"]: [] for image in human["images"]}
    for row in human["annotations"]:
        references[row["image_id"]].append(row["caption"])
    rows = json.loads((NASTY / "cands.json").read_text())
    first = {row["image_id"]: row["caption"] for row in rows}
    second = {image: captions[0] for image, captions in references.items()}
    result = compare_captions({"a": first}, {"b": second}, references, samples=3)
    wanted = [score_captions(captions, references) for captions in (first, second)]
    for name, row in result.metrics.items():
        a, b = (scores.corpus[name] for scores in wanted)
        assert row[:3] == (a, b, b - a)
    assert result.signature == wanted[0].signature == wanted[1].signature


def test_a_system_scores_the_mean_of_its_runs():
    c = written(4)
    runs = [score_captions(captions, REFERENCES).corpus for captions in (B, c)]
    result = compare_captions({"a": A}, {"b": B, "c": c}, REFERENCES, metrics=list(METRICS)[:6])
    for name, row in result.metrics.items():
        assert row.b == pytest.approx(np.mean([scores[name] for scores in runs]), abs=1e-15)
    assert "|runs:1+2|" in result.resampling
    assert result.gained[0].captions_b == (B[result.gained[0].image], c[result.gained[0].image])


def test_the_images_that_changed_most():
    result = compare_captions({"a": A}, {"b": B}, REFERENCES, samples=3)
    first, second = (score_captions(run, REFERENCES).per_image for run in (A, B))
    gains = {image: second[image]["CIDEr-D"] - first[image]["CIDEr-D"] for image in REFERENCES}
    ranked = sorted(gains, key=gains.__getitem__)
    assert len(result.lost) == 5
    assert [change.image for change in result.lost] == ranked[:5]
    gained = [image for image in ranked[:-6:-1] if gains[image] > 0]
    assert gained
    assert [change.image for change in result.gained] == gained
    change = result.lost[0]
    assert (change.captions_a, change.captions_b) == ((A[change.image],), (B[change.image],))
    assert change.a == first[change.image]["CIDEr-D"]
    assert change.b == second[change.image]["CIDEr-D"]


def test_exchanged_systems_mirror_the_result():
    there = compare_captions({"a": A}, {"b": B}, REFERENCES)
    back = compare_captions({"b": B}, {"a": A}, REFERENCES)
    for name, row in there.metrics.items():
        other = back.metrics[name]
        assert (other.a, other.b, other.difference) == (row.b, row.a, -row.difference)
        assert other.p_value == row.p_value
        assert other.interval == pytest.approx((-row.interval[1], -row.interval[0]), abs=1e-12)
    assert there.gained == [
        change._replace(
            a=change.b, b=change.a, captions_a=change.captions_b, captions_b=change.captions_a
        )
        for change in back.lost
    ]


def test_equal_seeds_give_equal_results():
    results = [
        compare_captions({"a": A, "b": B}, {"b": B, "a": A}, REFERENCES, samples=97, seed=seed)
        for seed in (3, 3, 4)
    ]
    assert results[0] == results[1]
    assert results[0].metrics["CIDEr-D"].interval != results[2].metrics["CIDEr-D"].interval


@pytest.mark.parametrize("name", ["coco_human_loo", "coco_corrupt_varrefs", "tiny_2"])
def test_bleu_statistics_equal_the_reference(shared: Path, name: str):
    # pycocoevalcap 1.2 prints the sums of its counts.
    expected = json.loads((shared / "goldens" / "captions" / name / "expected.json").read_text())
    tokens = expected["tokenized"]
    ngrams = count_ngrams(
        [tokens["cands"][image].split() for image in tokens["refs"]],
        [[line.split() for line in lines] for lines in tokens["refs"].values()],
    )
    statistics = bleu_statistics(ngrams)
    sums = [column.sum(axis=0).tolist() for column in statistics]
    assert sums == [
        expected["bleu_stats"][key] for key in ("testlen", "reflen", "correct", "guess")
    ]
    assert bleu_from_statistics(*sums) == bleu(ngrams).corpus


def refused(match: str, a: dict, b: dict, references: dict = REFERENCES, **options: object):
    with pytest.raises(InputError, match=match):
        compare_captions(a, b, references, **options)  # pyright: ignore[reportArgumentType]


def test_images_of_one_side_only_are_named():
    less = {image: text for image, text in B.items() if image > 106}
    refused(
        r"^images 100, 101, .* 104 and 2 more have references but no caption in runs/b",
        {"runs/a": A},
        {"runs/b": less},
    )
    refused(
        r"^image x has a caption in runs/c but no references; both",
        {"runs/a": A, "runs/c": A | {"x": "a"}},
        {"runs/b": B},
    )
    refused(r"^image 100 has no references", {"a": A}, {"b": B}, REFERENCES | {100: []})
    refused(r"^image 101 has a caption in b that is not a string", {"a": A}, {"b": B | {101: 5}})


def test_settings_that_cannot_be_are_refused():
    refused(
        "there is no metric METEOR to compare in; choose of BLEU-1, ",
        {"a": A},
        {"b": B},
        metrics=["METEOR"],
    )
    refused("there is no metric given", {"a": A}, {"b": B}, metrics=[])
    refused(
        "expected 1 or more samples and a seed of 0 or more, got 0 and 0",
        {"a": A},
        {"b": B},
        samples=0,
    )
    refused("at most 1000000 samples, got 9999999;", {"a": A}, {"b": B}, samples=9_999_999)
    refused("got 7 and -1", {"a": A}, {"b": B}, samples=7, seed=-1)
    refused("a system has no run", {"a": A}, {})
    refused("at least 2 images to compare on, got 1", {"a": {1: "a"}}, {"b": {1: "a"}}, {1: ["a"]})
