"""Rewards: CIDEr-D of the whole training set's frequencies, BLEU-4, sums, one's own."""

from pathlib import Path

import numpy as np
import pytest
from tiny_captions import TEXTS

from vlm.errors import InputError
from vlm.metrics.bleu import bleu
from vlm.metrics.cider import DocumentFrequencies, cider_d
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.signature import caption_signature, reward_signature
from vlm.training.rewards import END, Bleu4, CiderD, Mixed, OwnReward, as_captions

REFERENCES = {key: as_captions(row) for key, row in TEXTS.items()}
DRAWN = as_captions(
    ["a dog runs on grass", "two cats on a", "a dog", "a man rides a bus on a street"],
    ended=[True, False, True, True],
)
IMAGES = [7, 3, 7, 5]


def words(image: int) -> list[tuple[str, ...]]:
    return [caption.words for caption in REFERENCES[image]]


def test_captions_and_references_have_one_tokenization_and_the_end_is_a_word():
    drawn, human = as_captions(["a dog's bone", "A dog's bone."])
    assert drawn.words == human.words == ("a", "dog", "'s", "bone", END)
    assert as_captions(["with a"], ended=[False])[0].words == ("with", "a")


def test_no_caption_says_the_end():
    assert END not in as_captions([END, f"<{END}>"], ended=[False, False])[0].words


def test_cider_d_has_the_frequencies_of_all_training_images_whatever_the_batch():
    """pycocoevalcap's scorer puts the size of the batch in place of the size of the corpus."""
    scores = CiderD().against(REFERENCES)(DRAWN, IMAGES)
    ngrams = count_ngrams([c.words for c in DRAWN], [words(image) for image in IMAGES])
    stored = DocumentFrequencies.from_references([words(image) for image in REFERENCES])
    np.testing.assert_allclose(scores, cider_d(ngrams, stored), rtol=0, atol=1e-12)
    batch = DocumentFrequencies(3, stored.images)
    assert np.abs(scores - cider_d(ngrams, batch)).max() > 0.05, "the trap"
    alone = CiderD().against(REFERENCES)(DRAWN[:1], IMAGES[:1])
    assert alone[0] == pytest.approx(scores[0], abs=1e-12)


def test_a_caption_that_ends_earns_more_than_one_cut_off_at_the_same_word():
    score = CiderD().against(REFERENCES)
    whole, cut = as_captions(["two cats sleep"] * 2, ended=[True, False])
    assert score([whole], [3])[0] > score([cut], [3])[0]


def test_bleu_4_is_that_of_single_captions():
    scores = Bleu4().against(REFERENCES)(DRAWN, IMAGES)
    wanted = [
        bleu(count_ngrams([caption.words], [words(image)])).corpus[3]
        for caption, image in zip(DRAWN, IMAGES, strict=True)
    ]
    np.testing.assert_allclose(scores, wanted, rtol=0, atol=1e-12)
    # "a man rides a bus <end>" holds the first reference of image 5 but for its second half:
    perfect = Bleu4().against(REFERENCES)(REFERENCES[5][:1], [5])
    assert perfect[0] == pytest.approx(1.0, abs=1e-6)


def test_a_mixture_is_the_weighted_sum():
    parts = [CiderD(), Bleu4()]
    mixed = Mixed(parts, [1.0, 0.5]).against(REFERENCES)(DRAWN, IMAGES)
    cider, bleu_4 = (part.against(REFERENCES)(DRAWN, IMAGES) for part in parts)
    np.testing.assert_allclose(mixed, cider + 0.5 * bleu_4, rtol=0, atol=1e-12)
    assert Mixed(parts, [1.0, 0.5]).name == "1*cider-d+0.5*bleu-4"


@pytest.mark.parametrize("count", [0, 1])
def test_a_mixture_needs_a_weight_a_reward(count):
    with pytest.raises(InputError, match=f"^Mixed was given {count} rewards and {2 * count} "):
        Mixed([CiderD()] * count, [1.0] * 2 * count)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "own_reward_of_a_test.py"
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(
        "def length(captions, references):\n"
        "    return [len(c.split()) - len(r[0].split()) for c, r in zip(captions, references)]\n"
        "def one(captions, references):\n    return [1.0]\n"
        "def text(captions, references):\n    return captions\n"
        "def ragged(captions, references):\n    return [[1.0], *([2.0, 3.0],) * 3]\n"
        "number = 5\n"
    )
    return file


def test_ones_own_function_is_given_texts(own_module: Path):
    score = OwnReward("own_reward_of_a_test.length").against(REFERENCES)
    assert score(DRAWN, IMAGES).tolist() == [-1, -1, -4, 3]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ("length", r"^the reward 'length' cannot be imported .* give module\.function"),
        ("missing_module.f", "'missing_module.f' cannot be imported"),
        ("own_reward_of_a_test.none", "cannot be imported .* PYTHONPATH"),
        ("own_reward_of_a_test.number", "cannot be imported .it is 5, no function.* PYTHONPATH"),
        ("own_reward_with_a_fault.f", "cannot be imported .* PYTHONPATH"),
    ],
)
def test_a_function_that_is_not_there_is_refused(own_module: Path, function, sentence):
    own_module.with_name("own_reward_with_a_fault.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=sentence):
        OwnReward(function).against(REFERENCES)


@pytest.mark.parametrize(
    ("function", "found"),
    [("one", r"float64 of shape \(1,\)"), ("text", r"what is no number of shape \(4,\)")],
)
def test_a_function_has_to_return_a_number_a_caption(own_module: Path, function, found):
    score = OwnReward(f"own_reward_of_a_test.{function}").against(REFERENCES)
    with pytest.raises(InputError, match=f"returned {found} for 4 captions; return a number"):
        score(DRAWN, IMAGES)


def test_a_function_has_to_return_a_list(own_module: Path):
    score = OwnReward("own_reward_of_a_test.ragged").against(REFERENCES)
    with pytest.raises(InputError, match=r"returned what is no list of numbers .*return a number"):
        score(DRAWN, IMAGES)


def test_the_signature_says_what_published_numbers_differ_in():
    line = reward_signature(["cider-d"], TEXTS)
    assert line.startswith("cider-d|refs:1-3|tok:ptb|split:")
    assert "|n:4|dedup:none|df:corpus|end:word|vlm:" in line
    assert line.replace("|end:word", "") == caption_signature(["CIDEr-D"], TEXTS)
    fewer = {key: row for key, row in TEXTS.items() if key != 3}
    assert reward_signature(["cider-d"], fewer) != line
