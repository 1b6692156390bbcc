"""ROUGE-L against pycocoevalcap 1.2, bit for bit, and against the textbook table."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.metrics.rouge import rouge_l

SETS = ["coco_human_loo", "coco_corrupt_varrefs", "coco_fakecap_subset", "flickr8k_loo", "nasty"]


def split(line: str) -> list[str]:
    return line.split(" ") if line else []


@pytest.mark.parametrize("name", [*SETS, "tiny_1", "tiny_2", "tiny_dup"])
def test_equals_the_reference_bit_for_bit(shared: Path, name: str):
    expected = json.loads((shared / "goldens" / "captions" / name / "expected.json").read_text())
    tokens = expected["tokenized"]
    candidates = [split(tokens["cands"][image]) for image in tokens["refs"]]
    references = [[split(line) for line in lines] for lines in tokens["refs"].values()]
    scores = rouge_l(candidates, references)
    assert scores == [expected["per_image"][image]["ROUGE_L"] for image in tokens["refs"]]
    assert np.mean(scores) == expected["corpus"]["ROUGE_L"]


def common_length(first: list[str], second: list[str]) -> int:
    """The textbook table of longest common subsequences."""
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            grown = table[i, j] + 1
            table[i + 1, j + 1] = grown if a == b else max(table[i, j + 1], table[i + 1, j])
    return int(table[-1, -1])


CAPTION = st.lists(st.sampled_from("abc"), min_size=1, max_size=11)


@settings(deadline=None)
@given(CAPTION, st.lists(CAPTION, min_size=1, max_size=3))
def test_equals_the_textbook_table(candidate: list[str], references: list[list[str]]):
    common = [common_length(candidate, reference) for reference in references]
    precision = max(common) / len(candidate)
    recall = max(n / len(words) for n, words in zip(common, references, strict=True))
    f = 2.44 * precision * recall / (recall + 1.44 * precision) if precision else 0.0
    assert rouge_l([candidate], [references]) == pytest.approx([f])


def test_a_caption_longer_than_a_machine_word():
    words = [str(i) for i in range(131)]
    every_second = [word for i, word in enumerate(words) if i % 2]
    assert rouge_l([words], [[every_second]]) == pytest.approx([2.44 * 65 / (131 + 1.44 * 65)])


def test_empty_captions():
    assert rouge_l([[], [], ["a"]], [[[]], [["a"]], [[]]]) == [1.0, 0.0, 0.0]
