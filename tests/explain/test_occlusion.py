"""Occlusion against one masking at a time."""

import pytest
import torch
from reading import COUNT, a_caption, a_question
from torch.testing import assert_close

from vlm.explain.maps import explain
from vlm.explain.occlusion import AT_ONCE, masked_log_probabilities, occlusion
from vlm.models.answer_heads import AnswerClassifier, AnswerWriter


@torch.no_grad()
def log_probabilities(passage, mask):
    """Of words or of the answer, with some regions gone, by the model's own path."""
    network, one = passage.network, passage.regions._replace(mask=mask.unsqueeze(0))
    tokens = passage.tokens.view(1, 1, -1)
    real = torch.ones_like(tokens, dtype=torch.bool)
    if all(passage.chosen):
        hidden = network(one, tokens)[:, 0]
        return passage.score(hidden)[0]
    scores = network(network.encode(one), tokens, real)[0, 0]
    return (scores / 1.5).log_softmax(-1)[1:2]


@pytest.mark.parametrize("question", [False, True])
def test_each_region_costs_what_its_absence_costs(question):
    passage = a_question(AnswerClassifier, padded=2) if question else a_caption(padded=2)
    real = passage.regions.mask[0]
    whole = log_probabilities(passage, real)
    expected = torch.zeros(len(passage.words), COUNT)
    for region in range(COUNT - 2):
        without = real.clone()
        without[region] = False
        falls = (whole - log_probabilities(passage, without)).clamp(min=0)
        expected[:, region] = falls  # the answer's, of all words of a question
    assert (expected > 0).any(dim=1).all()
    assert_close(occlusion(passage), expected, atol=1e-5, rtol=1e-4)


def test_masks_are_read_in_parts_and_stay_in_order():
    passage = a_question(AnswerWriter)
    generator = torch.Generator().manual_seed(2)
    kept = torch.rand(AT_ONCE + 3, COUNT, generator=generator) < 0.5
    kept[:, 4] = True
    together = masked_log_probabilities(passage, kept)
    assert together.shape == (AT_ONCE + 3, 1)
    for row in (0, AT_ONCE - 1, AT_ONCE, AT_ONCE + 2):
        alone = masked_log_probabilities(passage, kept[row, None])
        assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_a_single_region_has_it_all():
    maps = explain(a_caption(padded=COUNT - 1), "occlusion").map
    assert (maps[:, 0] == 1).all()
    assert (maps[:, 1:] == 0).all()
