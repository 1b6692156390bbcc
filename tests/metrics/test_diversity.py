"""Diversity against the agreed figures, hand-counted cases, invariances, refusals."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm.errors import InputError
from vlm.metrics.bleu import bleu
from vlm.metrics.diversity import caption_diversity, sample_diversity
from vlm.metrics.ngrams import count_ngrams

CAPTION = st.lists(st.sampled_from(["a", "dog", "runs", "on", "red", "grass"]), max_size=7)
SAMPLES = st.integers(2, 3).flatmap(
    lambda number: st.lists(
        st.lists(CAPTION, min_size=number, max_size=number), min_size=1, max_size=5
    )
)


def split(*lines: str) -> list[list[str]]:
    return [line.split() for line in lines]


def test_samples_equal_the_agreed_figures(shared: Path):
    # misc/diversity.json: 200 images of five samples, figures of a program written apart from ours.
    golden = json.loads((shared / "goldens" / "misc" / "diversity.json").read_text())
    samples = [split(*lines) for lines in golden["samples"].values()]
    ours = sample_diversity(samples, training=split(*golden["train_captions"]))
    assert ours.div_1 == pytest.approx(golden["div1"], rel=0, abs=1e-12)
    assert ours.div_2 == pytest.approx(golden["div2"], rel=0, abs=1e-12)
    assert ours.mbleu == pytest.approx(golden["mBLEU_1_to_4"], rel=0, abs=1e-12)
    assert ours.vocabulary == golden["vocabulary_size"]
    assert ours.novel is not None
    assert 100 * ours.novel == pytest.approx(golden["pct_novel"], rel=0, abs=1e-12)
    assert 100 * ours.unique == pytest.approx(golden["pct_unique"], rel=0, abs=1e-12)


def test_hand_counted_captions():
    captions = split("a dog on a mat", "two cats", "a dog on a mat")
    ours = caption_diversity(captions, training=split("two cats", "two cats sit"))
    assert ours.div_1 == pytest.approx((4 / 5 + 2 / 2 + 4 / 5) / 3)
    assert ours.div_2 == pytest.approx((4 / 5 + 1 / 2 + 4 / 5) / 3)
    assert (ours.vocabulary, ours.unique, ours.novel) == (6, 2 / 3, 2 / 3)
    assert not hasattr(ours, "mbleu")


def test_hand_counted_samples():
    samples = [split("a dog runs", "a dog sits"), split("red", "red")]
    ours = sample_diversity(samples, training=None)
    assert ours.div_1 == pytest.approx((4 / 6 + 1 / 2) / 2)
    assert ours.div_2 == pytest.approx((3 / 6 + 0) / 2)
    # Both rounds: 3 of 4 words and 1 of 2 pairs match, over the corpus, at equal lengths.
    assert ours.mbleu[:2] == pytest.approx((3 / 4, (3 / 4 * 1 / 2) ** 0.5), abs=1e-6)
    assert (ours.vocabulary, ours.unique, ours.novel) == (5, 3 / 4, None)


def test_pairs_of_words_do_not_cross_captions():
    ours = sample_diversity([split("a dog", "runs")], training=None)
    assert ours.div_2 == pytest.approx(1 / 3)


def test_an_image_without_words_counts_as_zero():
    assert caption_diversity(split("", "red bus"), training=None).div_1 == 1 / 2


def test_no_training_caption_makes_all_novel_and_unknown_ones_none():
    assert caption_diversity(split("a dog"), training=[]).novel == 1.0
    assert caption_diversity(split("a dog"), training=None).novel is None


@settings(deadline=None)
@given(SAMPLES)
def test_two_samples_are_bleu_both_ways(samples: list[list[list[str]]]):
    pairs = [captions[:2] for captions in samples]
    first, second = ([captions[k] for captions in pairs] for k in (0, 1))
    there = bleu(count_ngrams(first, [[caption] for caption in second])).corpus
    back = bleu(count_ngrams(second, [[caption] for caption in first])).corpus
    wanted = [(a + b) / 2 for a, b in zip(there, back, strict=True)]
    assert sample_diversity(pairs, training=None).mbleu == pytest.approx(wanted, rel=0, abs=1e-12)


@settings(deadline=None)
@given(SAMPLES)
def test_order_of_images_changes_nothing_and_all_is_in_range(samples: list[list[list[str]]]):
    ours = sample_diversity(samples, training=samples[0])
    turned = sample_diversity(samples[::-1], training=samples[0])
    assert ours.mbleu == pytest.approx(turned.mbleu, rel=0, abs=1e-12)
    assert (ours.div_1, ours.div_2) == pytest.approx((turned.div_1, turned.div_2))
    assert (ours.vocabulary, ours.unique) == (turned.vocabulary, turned.unique)
    shares = (ours.div_1, ours.div_2, ours.unique, ours.novel, *ours.mbleu)
    assert all(share is not None and 0 <= share <= 1 for share in shares)


@settings(deadline=None)
@given(SAMPLES)
def test_what_samples_and_single_captions_share_is_equal(samples: list[list[list[str]]]):
    flat = [caption for captions in samples for caption in captions]
    ours = sample_diversity(samples, training=flat[:1])
    single = caption_diversity(flat, training=flat[:1])
    for name in ("vocabulary", "unique", "novel"):
        assert getattr(ours, name) == getattr(single, name)


def test_equal_samples_have_full_mbleu():
    samples = [split(*["two cats sit on a mat"] * 3)] * 5
    assert sample_diversity(samples, training=None).mbleu == pytest.approx((1.0,) * 4)


def test_no_caption_is_refused():
    for nothing in ([], [[], []]):
        with pytest.raises(InputError, match=r"^there are no captions to measure: give"):
            sample_diversity(nothing, training=None)
    with pytest.raises(InputError, match=r"^there are no captions to measure: give"):
        caption_diversity([], training=None)


def test_one_sample_an_image_is_refused():
    with pytest.raises(InputError, match=r"the first image has 1: give .* with caption_diversity$"):
        sample_diversity([split("a dog")], training=None)


def test_unequal_numbers_are_named_five_at_most():
    samples = [split("a", "b"), *[split("a")] * 7]
    with pytest.raises(
        InputError, match=r"^images 1, 2, 3, 4, 5 and 2 more, counted from 0, do not have 2 capt"
    ):
        sample_diversity(samples, training=None)


def test_text_is_refused():
    with pytest.raises(InputError, match=r"^caption 1, counted from 0, is the text 'a dog', not"):
        caption_diversity([["a"], "a dog"], training=None)
    with pytest.raises(InputError, match=r"^caption 0, counted from 0, is the text 'a', not"):
        sample_diversity(split("a dog", "two cats"), training=None)
    with pytest.raises(InputError, match=r"^training caption 0, counted from 0, is the text"):
        caption_diversity(split("a dog"), training=["a dog"])
