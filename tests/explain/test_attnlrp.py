"""AttnLRP: its rules change no output, and hand back all that went through."""

import pytest
import torch
from reading import a_caption, a_question
from torch.testing import assert_close

from vlm.explain.attnlrp import attnlrp, ruled
from vlm.models.answer_heads import AnswerClassifier
from vlm.models.blocks import CrossAttention, FeedForward

WIDTH, HEADS = 12, 3


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def without_biases(module: torch.nn.Module) -> torch.nn.Module:
    for index, (name, parameter) in enumerate(module.double().named_parameters()):
        parameter.data = random(*parameter.shape, seed=index) * (not name.endswith("bias"))
    return module.eval()


def test_rules_change_no_output_and_go_again():
    for passage in (a_caption(padded=2), a_question(AnswerClassifier, padded=2)):
        with torch.no_grad():
            plain = passage.log_probabilities(passage.network.encode(passage.regions))
            with ruled(passage.network):
                by_rules = passage.log_probabilities(passage.network.encode(passage.regions))
        assert_close(by_rules, plain, atol=1e-5, rtol=0)
        assert not any(module._forward_hooks for module in passage.network.modules())


def test_a_thought_hands_back_what_it_was_given():
    block = without_biases(FeedForward(WIDTH, dropout=0.0))
    values = random(2, 5, WIDTH, seed=50).requires_grad_()
    with torch.no_grad():
        values[0, 0, 0] = 0
    outward = random(2, 5, WIDTH, seed=51)
    with ruled(block):
        given = (block(values) * outward).sum(dim=-1)
    (slope,) = torch.autograd.grad(given.sum(), values)
    assert_close((values * slope).sum(dim=-1), given)
    (plain,) = torch.autograd.grad((block(values) * outward).sum(), values)
    assert not torch.allclose((values * plain).sum(dim=-1), given)


def test_a_look_gives_half_to_where_and_half_to_what():
    block = without_biases(CrossAttention(WIDTH, HEADS, dropout=0.0))
    text, memory = random(1, 4, WIDTH, seed=60), random(1, 1, WIDTH, seed=61).requires_grad_()
    outward, mask = random(1, 4, WIDTH, seed=62), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    with ruled(block):
        found = block(text, block.attention.project(memory), mask) - text
        (slope,) = torch.autograd.grad((found * outward).sum(), memory)
    # The weight of a single region is 1 whatever it holds, so that half is lost on the way.
    assert (memory * slope).sum().item() == pytest.approx((found * outward).sum().item() / 2)


def test_regions_owe_what_values_times_slopes_give():
    passage = a_question(AnswerClassifier)
    encoder, kept = passage.network.encoder, []

    def keep(module, arguments, output):
        kept.append(output)

    handle = encoder.drop.register_forward_hook(keep)
    with ruled(passage.network):
        targets = passage.log_probabilities(passage.network.encode(passage.regions))
        (slope,) = torch.autograd.grad(targets[0, 0], kept)
    handle.remove()
    owed = (kept[0] * slope).sum(dim=-1)[0].clamp(min=0).detach()
    assert (owed > 0).any()
    assert_close(attnlrp(passage), owed.expand(len(passage.words), -1))


def test_a_frozen_network_owes_the_same():
    passage = a_caption()
    expected = attnlrp(passage)
    passage.network.requires_grad_(requires_grad=False)
    assert_close(attnlrp(passage), expected)
