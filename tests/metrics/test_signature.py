"""A signature changes with each item that changes a number, and with nothing else."""

import re

import pytest

import vlm
from vlm.metrics import score_captions
from vlm.metrics.captions import document_frequencies
from vlm.metrics.signature import answer_signature, caption_signature, object_signature

REFERENCES = {7: ["a dog runs", "the dog"], 11: ["two cats", "cats on a mat"]}
PEOPLE = {70: (("red",) * 10, "other", "what color"), 71: (("2",) * 10, "number", "how many")}


def test_every_item_stands_in_the_line():
    line = caption_signature(["BLEU", "CIDEr-D"], REFERENCES)
    pattern = r"bleu\+cider-d\|refs:2\|tok:ptb\|split:[0-9a-f]{8}\|n:2\|dedup:none\|df:corpus\|vlm:"
    assert re.fullmatch(pattern + re.escape(vlm.__version__), line)


@pytest.mark.parametrize(
    ("references", "item"),
    [
        ({7: ["a dog runs", "the dog"]}, "n:1"),
        ({7: ["a dog runs", "the dog"], 11: ["two cats"]}, "refs:1-2"),
        ({7: ["a dog runs", "the dog"], 11: ["two cats", "cats on the mat"]}, "split:"),
        ({7: ["a dog runs", "the dog"], 12: ["two cats", "cats on a mat"]}, "split:"),
    ],
)
def test_other_references_are_told(references, item):
    before, after = caption_signature(["BLEU"], REFERENCES), caption_signature(["BLEU"], references)
    changed = set(after.split("|")) - set(before.split("|"))
    assert any(part.startswith(item) for part in changed)


def test_order_is_not_told():
    turned = {11: REFERENCES[11][::-1], 7: REFERENCES[7]}
    assert caption_signature(["BLEU"], turned) == caption_signature(["BLEU"], REFERENCES)


def test_other_metrics_and_the_version_are_told(monkeypatch):
    line = caption_signature(["BLEU"], REFERENCES)
    assert caption_signature(["ROUGE-L"], REFERENCES) == line.replace("bleu", "rouge-l")
    monkeypatch.setattr("vlm.metrics.signature.__version__", "9.9")
    assert caption_signature(["BLEU"], REFERENCES) == line.replace(vlm.__version__, "9.9")


def test_stored_frequencies_are_told_apart():
    candidates = {7: "a dog", 11: "two cats"}
    lines = {score_captions(candidates, REFERENCES).signature}
    for stored in ({1: ["a dog"], 2: ["a mat"]}, {1: ["a dog"], 2: ["a cat"]}):
        frequencies = document_frequencies(stored)
        scores = score_captions(candidates, REFERENCES, frequencies=frequencies)
        assert f"df:{frequencies.hash}" in scores.signature
        lines.add(scores.signature)
    assert len(lines) == 3


def test_the_same_frequencies_have_one_hash():
    first = document_frequencies({1: ["a dog"], 2: ["a mat"]})
    assert first.hash == document_frequencies({2: ["a mat"], 1: ["a dog"]}).hash


def test_candidates_are_not_told():
    lines = {
        score_captions({7: text, 11: "two cats"}, REFERENCES).signature for text in ("a dog", "no")
    }
    assert len(lines) == 1


def test_answers_are_told_by_variant_people_and_questions():
    line = answer_signature("official-2021", PEOPLE)
    assert line.startswith("vqa|variant:official-2021|answers:10|split:")
    assert answer_signature("mmf", PEOPLE) == line.replace("official-2021", "mmf")
    fewer = PEOPLE | {71: (("2",) * 3, "number", "how many")}
    other = PEOPLE | {71: (("3",) * 10, "number", "how many")}
    kind = PEOPLE | {71: (("2",) * 10, "other", "how many")}
    lines = {line, *(answer_signature("official-2021", people) for people in (fewer, other, kind))}
    assert len(lines) == 4


def test_objects_are_told_by_table_and_images():
    people = {7: ["a dog", "a cat"]}
    line = object_signature("own-0123abcd", {7: {"dog", "cat"}}, people)
    assert line == object_signature("own-0123abcd", {7: ["cat", "dog"]}, {7: people[7][::-1]})
    assert line != object_signature("published-0123abcd", {7: {"dog", "cat"}}, people)
    assert line != object_signature("own-0123abcd", {7: {"dog"}}, people)
    assert line != object_signature("own-0123abcd", {7: {"dog", "cat"}}, {7: ["a dog"]})


def test_frequencies_are_told_only_where_they_count():
    stored = document_frequencies({1: ["a dog"], 2: ["a mat"]})
    candidates = {7: "a dog", 11: "two cats"}
    plain = score_captions(candidates, REFERENCES, metrics=["BLEU"])
    other = score_captions(candidates, REFERENCES, metrics=["BLEU"], frequencies=stored)
    assert plain == other
