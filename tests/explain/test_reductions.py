"""Rollout, gradient and relevance against products, differences and equations by hand."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from reading import (
    BPE,
    COUNT,
    TEXTS,
    WORDS,
    a_caption,
    a_question,
    of_one_region,
    regions,
    written,
)
from reading import captioner as captioner_of
from torch import Tensor
from torch.testing import assert_close

from vlm.explain.maps import BY_MODEL, explain
from vlm.explain.passages import Passage, caption_passage
from vlm.explain.recording import recorded
from vlm.explain.reductions import evidence, gradient, relevance, rollout
from vlm.models import linear
from vlm.models.answer_heads import AnswerClassifier

LENGTH = 8  # tokens of the first text, the start included


def looks_of(passage: Passage):
    with torch.no_grad(), recorded(passage.network) as looks:
        passage.log_probabilities(passage.network.encode(passage.regions))
    return looks


@pytest.fixture
def of_one_layer() -> Passage:
    """Double precision, so that differences are differentials."""
    tokenizer = WORDS.train(TEXTS)
    one = regions(1)
    return caption_passage(
        captioner_of(tokenizer, layers=1).double(),
        tokenizer,
        one._replace(features=one.features.double(), boxes=one.boxes.double()),
        written(tokenizer, TEXTS[0]),
    )


def explicit(passage: Passage, nudges: Sequence[Tensor]) -> Tensor:
    """Log-probabilities of the words where something is added to the weights of attention.

    Args:
        passage: read by an encoder and a decoder of one layer each.
        nudges: of the regions' self-attention, the text's, and cross-attention.
    """
    network, (among, own, cross) = passage.network, nudges
    encoder, decoder = network.encoder, network.decoder

    def attend(
        branch, asking: Tensor, memory: Tensor, nudge: Tensor, mask: Tensor | None
    ) -> Tensor:
        part = branch.attention
        query, (key, value) = part.query(branch.norm(asking)), part.key_value(memory).chunk(2, -1)
        query, key, value = (
            each.unflatten(-1, (part.heads, -1)).transpose(1, 2) for each in (query, key, value)
        )
        scores = query @ key.mT / key.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        found = (scores.softmax(-1) + nudge) @ value
        return asking + part.output(found.transpose(1, 2).flatten(2))

    memory = encoder.project(encoder.norm(passage.regions.features))
    memory = memory + encoder.box_embedding(passage.regions.boxes)
    (block,) = encoder.blocks
    branch = block.self_attention
    memory = block.feed_forward(attend(branch, memory, branch.norm(memory), among, None))
    memory = encoder.output_norm(memory)
    text = decoder.token_embedding(passage.tokens) + decoder.position_embedding.weight[:LENGTH]
    (block,), text = decoder.blocks, text.unsqueeze(0)
    causal, branch = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril(), block.self_attention
    text = attend(branch, text, branch.norm(text), own, causal)
    text = block.feed_forward(attend(block.cross_attention, text, memory, cross, None))
    likely = decoder.logits(decoder.output_norm(text)).log_softmax(-1)[0]
    return likely[torch.arange(LENGTH), written(WORDS.train(TEXTS), TEXTS[0])][:-1]


def none(passage: Passage) -> list[Tensor]:
    kept = looks_of(passage)
    return [torch.zeros_like(layer) for kind in kept for layer in kind]


def test_rollout_is_the_product_of_matrices_over_text_and_regions():
    passage = a_caption()
    looks, length = looks_of(passage), len(passage.tokens)
    size = length + COUNT

    def joint(layer: Tensor, rows: slice, columns: slice) -> Tensor:
        matrix = torch.eye(size)
        matrix[rows] /= 2
        matrix[rows, columns] += layer[0].mean(dim=0) / 2
        return matrix

    text, image, product = slice(length), slice(length, size), torch.eye(size)
    for layer in looks.regions:
        product = joint(layer, image, image) @ product
    for own, cross in zip(looks.text, looks.cross, strict=True):
        product = joint(own, text, text) @ product
        product = joint(cross, text, image) @ product
    by_hand = passage.shares @ product[text, image]
    assert_close(rollout(passage), by_hand, atol=1e-6, rtol=1e-5)
    normed = by_hand / by_hand.sum(dim=1, keepdim=True)
    np.testing.assert_allclose(explain(passage, "rollout").map, normed.numpy(), atol=1e-6)


def test_evidence_is_attention_times_finite_differences(of_one_layer):
    nudges = none(of_one_layer)
    plain = explicit(of_one_layer, nudges)
    probabilities = explain(of_one_layer).probabilities
    np.testing.assert_allclose(plain.detach().exp().numpy(), probabilities, rtol=1e-5)
    found, looks, step = evidence(of_one_layer), looks_of(of_one_layer), 1e-6
    for kind, (kept, of_kind) in enumerate(zip(looks, found, strict=True)):
        weights, positive = kept[0][0], of_kind[0]
        for word, row, column in ((6, 2, 1), (3, 3, 0), (4, 0, 0), (5, 4, 3)):
            parts = []
            for head in range(len(weights)):
                nudges[kind][0, head, row, column] = step
                up = explicit(of_one_layer, nudges)[word]
                nudges[kind][0, head, row, column] = -step
                down = explicit(of_one_layer, nudges)[word]
                nudges[kind][0, head, row, column] = 0
                slope = (up - down) / (2 * step)
                parts.append((slope * weights[head, row, column]).clamp(min=0))
            expected = torch.stack(parts).mean().item()
            assert positive[word, row, column].item() == pytest.approx(expected, abs=1e-6)


def test_gradient_sums_all_looks_that_led_to_a_word():
    passage = a_caption()
    first, last = evidence(passage).cross
    for word, share in enumerate(passage.shares):
        places = share.nonzero().flatten()
        assert (first[word, places[-1] + 1 :] == 0).all(), "a later look cannot have mattered"
        assert (last[word, : places[0]] == 0).all(), "none hears of these"
    assert (first[-1, : places[0]].sum(dim=1) > 0).all(), "earlier looks did, by self-attention"
    assert_close(gradient(passage), (first + last).sum(dim=1))


def test_relevance_is_the_papers_equations_written_out(of_one_layer):
    nudges = [nudge.requires_grad_() for nudge in none(of_one_layer)]
    targets, looks = explicit(of_one_layer, nudges), looks_of(of_one_layer)
    rows = []
    for word in range(LENGTH - 1):
        slopes = torch.autograd.grad(targets[word], nudges, retain_graph=True)
        image, text, cross = (  # equation 5
            (slope * kept[0]).clamp(min=0).mean(dim=(0, 1)).float()
            for slope, kept in zip(slopes, looks, strict=True)
        )
        r_ii, r_tt = torch.eye(COUNT), torch.eye(LENGTH)
        r_ti = torch.zeros(LENGTH, COUNT)
        r_ii = r_ii + image @ r_ii  # equation 6
        r_tt, r_ti = r_tt + text @ r_tt, r_ti + text @ r_ti  # equations 6 and 7
        normed = []
        for relevance_of in (r_tt, r_ii):  # equations 8 and 9
            rest = relevance_of - torch.eye(len(relevance_of))
            sums = torch.tensor([row.sum() if row.sum() > 0 else 1.0 for row in rest])
            normed.append(rest / sums.unsqueeze(1) + torch.eye(len(rest)))
        r_ti = r_ti + normed[0].T @ cross @ normed[1]  # equation 10
        rows.append(r_ti[word])
    assert_close(relevance(of_one_layer), torch.stack(rows), atol=1e-6, rtol=1e-4)


def test_a_question_asks_for_its_answer_alone():
    passage = a_question(AnswerClassifier)
    of_answer = evidence(passage)
    assert all(len(layer) == 1 for kind in of_answer for layer in kind)
    total = torch.stack(of_answer.cross).sum(dim=0)[0]  # (L, N)
    rows = gradient(passage)
    assert_close(rows[-1], total.sum(dim=0))
    assert_close(rows[:-1], total[1:-1], msg="words look for themselves, start and end for none")


@pytest.mark.parametrize("name", ["gradient", "relevance", "attnlrp", "occlusion"])
def test_what_hangs_on_one_region_is_found_there(name):
    for region in (0, 7, COUNT - 1):
        maps = explain(of_one_region(region), name)
        assert maps.map.argmax() == region
        assert maps.map[0, region] > 0.99


def test_reductions_work_within_inference_mode():
    tokenizer = BPE.train(TEXTS)
    network = captioner_of(tokenizer)
    with torch.inference_mode():
        seen = regions(1).each(torch.clone)
        ids = written(tokenizer, TEXTS[0])
        inside = caption_passage(network, tokenizer, seen, ids)
        maps = {name: explain(inside, name).map for name in BY_MODEL}
    assert inside.regions.features.is_inference()
    for name, rows in maps.items():
        np.testing.assert_allclose(rows, explain(a_caption(), name).map, atol=1e-5)


def test_reductions_leave_no_gradient_behind():
    passage = a_caption()
    for name in BY_MODEL:
        explain(passage, name)
    assert all(parameter.grad is None for parameter in passage.network.parameters())


@pytest.mark.parametrize("reduction", BY_MODEL)
def test_maps_are_the_same_whichever_library_multiplies(
    reduction: str, monkeypatch: pytest.MonkeyPatch
):
    tokenizer = WORDS.train(TEXTS)
    network = captioner_of(tokenizer)
    passage = caption_passage(network, tokenizer, regions(1), written(tokenizer, TEXTS[0]))
    expected = explain(passage, reduction).map
    monkeypatch.setattr(linear, "FEWEST_PRODUCTS", 0)  # all products by oneDNN, where it is
    np.testing.assert_allclose(explain(passage, reduction).map, expected, rtol=0, atol=1e-5)
