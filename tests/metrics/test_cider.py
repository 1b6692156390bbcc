"""CIDEr and CIDEr-D against the reference programs, with this corpus' and stored frequencies."""

import json
from pathlib import Path

import numpy as np
import pytest

from vlm.errors import InputError
from vlm.metrics.cider import DocumentFrequencies, cider, cider_d
from vlm.metrics.ngrams import count_ngrams

SETS = ["coco_human_loo", "coco_corrupt_varrefs", "coco_fakecap_subset", "flickr8k_loo", "nasty"]

Sentences = list[list[str]]


def tokens_of(folder: Path) -> tuple[dict[str, list[str]], dict[str, Sentences]]:
    tokens = json.loads((folder / "expected.json").read_text())["tokenized"]
    candidates = {image: line.split() for image, line in tokens["cands"].items()}
    return candidates, {i: [line.split() for line in lines] for i, lines in tokens["refs"].items()}


@pytest.mark.parametrize("name", [*SETS, "tiny_1", "tiny_2", "tiny_dup"])
def test_cider_d_equals_the_reference(shared: Path, name: str):
    folder = shared / "goldens" / "captions" / name
    expected = json.loads((folder / "expected.json").read_text())
    candidates, references = tokens_of(folder)
    scores = cider_d(count_ngrams([candidates[i] for i in references], list(references.values())))
    wanted = [expected["per_image"][image]["CIDEr"] for image in references]
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-12)
    assert scores.mean() == pytest.approx(expected["corpus"]["CIDEr"], rel=0, abs=1e-12)


@pytest.mark.parametrize("end", ["", "_eos"])
@pytest.mark.parametrize(("name", "measure"), [("CIDEr", cider), ("CIDEr-D", cider_d)])
def test_stored_frequencies_equal_the_reference(shared: Path, name: str, measure, end: str):
    # cider_df/expected.json: frequencies of 500 images, scores of 300 others; "_eos": every
    # sentence ends in the token "0", as in self-critical training.
    expected = json.loads((shared / "goldens" / "cider_df" / "expected.json").read_text())
    candidates, references = tokens_of(shared / "goldens" / "captions" / "coco_human_loo")
    if end:
        candidates = {image: [*words, "0"] for image, words in candidates.items()}
        references = {i: [[*words, "0"] for words in lines] for i, lines in references.items()}
    stored = DocumentFrequencies.from_references([references[i] for i in expected["df_from"]])
    assert stored.corpus_size == expected["ref_len_images"]
    images = expected["eval_ids"]
    scores = measure(
        count_ngrams([candidates[i] for i in images], [references[i] for i in images]), stored
    )
    wanted = expected[name + end]
    np.testing.assert_allclose(scores, [wanted["per_image"][i] for i in images], rtol=0, atol=1e-12)
    assert scores.mean() == pytest.approx(wanted["mean"], rel=0, abs=1e-12)


def test_original_cider_with_the_frequencies_of_its_corpus(shared: Path):
    expected = json.loads((shared / "goldens" / "cider_df" / "expected.json").read_text())
    candidates, references = tokens_of(shared / "goldens" / "captions" / "coco_human_loo")
    scores = cider(count_ngrams([candidates[i] for i in references], list(references.values())))
    wanted = expected["CIDEr_original_corpus_df_all800"]["per_image"]
    np.testing.assert_allclose(scores, [wanted[i] for i in references], rtol=0, atol=1e-12)


CANDIDATES = [
    line.split() for line in ("a dog runs on grass", "two cats sit on a mat", "a red bus")
]
REFERENCES = [
    [line.split() for line in lines]
    for lines in (
        ["a dog runs on the grass", "a brown dog"],
        ["two cats on a mat"],
        ["a red bus on a road", "the bus", "a bus in town"],
    )
]


def test_own_frequencies_are_those_stored_of_the_same_references():
    ngrams = count_ngrams(CANDIDATES, REFERENCES)
    stored = DocumentFrequencies.from_references(REFERENCES)
    assert stored.images["on", "a"] == 2
    assert stored.images["a",] == 3
    np.testing.assert_array_equal(cider_d(ngrams, stored), cider_d(ngrams))


def test_a_batch_of_three_is_three_batches_of_one():
    stored = DocumentFrequencies.from_references(REFERENCES)
    together = cider_d(count_ngrams(CANDIDATES, REFERENCES), stored)
    pairs = zip(CANDIDATES, REFERENCES, strict=True)
    alone = [cider_d(count_ngrams([words], [lines]), stored)[0] for words, lines in pairs]
    assert min(alone) > 0
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)


def test_one_image_tells_no_ngram_from_another():
    assert cider_d(count_ngrams(CANDIDATES[:1], REFERENCES[:1])).tolist() == [0.0]


def test_a_short_copy_has_no_longer_ngrams():
    # A copy of n words agrees fully in n of the four lengths of n-grams.
    copies = [["bus"], ["a", "dog"], ["three", "white", "sheep"], ["my", "cat", "naps", "here"]]
    scores = cider_d(count_ngrams(copies, [[words] for words in copies]))
    np.testing.assert_allclose(scores, [2.5, 5.0, 7.5, 10.0], atol=1e-12)


def test_frequencies_of_no_image_are_refused():
    with pytest.raises(InputError, match="document frequencies of 0 images"):
        DocumentFrequencies.from_references([])
