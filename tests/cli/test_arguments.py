"""Names of scores on the command line: families, single ones, and what is refused."""

import pytest

from vlm.cli.arguments import score_names
from vlm.errors import InputError
from vlm.metrics import captions, compare


@pytest.mark.parametrize("families", [captions.SCORES, compare.FAMILIES])
def test_families_and_single_scores(families):
    every = [f"BLEU-{n}" for n in (1, 2, 3, 4)]
    assert score_names("BLEU", families) == every
    assert score_names("CIDEr,BLEU-3", families) == ["CIDEr", "BLEU-3"]
    assert score_names(" ROUGE-L , BLEU", families) == ["ROUGE-L", *every]


def test_every_score_that_can_be_compared_is_in_a_family():
    assert {score for of in compare.FAMILIES.values() for score in of} == {*compare.METRICS}
    assert {*captions.SCORES} - {*compare.FAMILIES} == {"METEOR", "SPICE"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"names parted by single commas, got ''; choose of BLEU, BLEU-1, .*, SPICE$"),
        ("BLEU,,", r"names parted by single commas, got 'BLEU,,'; choose of BLEU, "),
        ("BLEU, ,CIDEr", r"names parted by single commas, got 'BLEU, ,CIDEr'; choose of"),
        ("bleu,F1", r"names bleu, F1, which is not here; choose of BLEU, "),
        ("CIDEr,CIDEr", r"names CIDEr twice in 'CIDEr,CIDEr'; name each once"),
        ("BLEU,BLEU-4", r"names BLEU-4 twice in 'BLEU,BLEU-4'; name each once"),
    ],
)
def test_names_that_cannot_be_are_told(text, sentence):
    with pytest.raises(InputError, match=f"^--metrics (expected )?{sentence}"):
        score_names(text, captions.SCORES)
