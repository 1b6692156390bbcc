"""BLEU against pycocoevalcap 1.2, bit for bit, and against its definition."""

import json
import math
from pathlib import Path

import pytest

from vlm.metrics.bleu import bleu
from vlm.metrics.ngrams import count_ngrams

SETS = ["coco_human_loo", "coco_corrupt_varrefs", "coco_fakecap_subset", "flickr8k_loo", "nasty"]
NAMES = ["Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4"]


@pytest.mark.parametrize("name", [*SETS, "tiny_1", "tiny_2", "tiny_dup"])
def test_equals_the_reference_bit_for_bit(shared: Path, name: str):
    expected = json.loads((shared / "goldens" / "captions" / name / "expected.json").read_text())
    tokens = expected["tokenized"]
    candidates = [tokens["cands"][image].split() for image in tokens["refs"]]
    references = [[line.split() for line in lines] for lines in tokens["refs"].values()]
    scores = bleu(count_ngrams(candidates, references))
    assert scores.corpus == [expected["corpus"][name] for name in NAMES]
    rows = [[expected["per_image"][image][name] for name in NAMES] for image in tokens["refs"]]
    assert scores.per_image == rows


def score(candidate: str, *references: str) -> list[float]:
    return bleu(count_ngrams([candidate.split()], [[line.split() for line in references]])).corpus


def test_precision_is_clipped_by_the_best_reference():
    # Papineni et al., 2002, section 2.1.1: "the" seven times, at most twice in one reference.
    once, twice = "there is a cat on the mat", "the cat is on the mat"
    assert score("the the the the the the the", once, twice)[0] == pytest.approx(2 / 7)


def test_brevity_penalty_takes_the_shorter_of_two_equally_close_references():
    # Five words against four and six: no penalty against four.
    assert score("a b c d e", "a b c d", "a b c d e f")[0] == pytest.approx(1.0)
    assert score("a b c d", "a b c d e f")[0] == pytest.approx(math.exp(1 - 6 / 4))


def test_perfect_match_of_three_words_has_no_four_words():
    assert score("a b c", "a b c")[2:] == pytest.approx([1.0, 1e-6**0.25])
