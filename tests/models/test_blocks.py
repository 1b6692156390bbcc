"""Layers against torch's, and texts that go on from a prefix against one whole sequence."""

from functools import partial

import pytest
import tiny
import torch
from tiny import HEADS, WIDTH, B, C, L, N
from torch import Tensor, nn
from torch.testing import assert_close

from vlm.models.attention import MultiHeadAttention
from vlm.models.blocks import (
    CrossAttention,
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    SelfAttention,
    start_small,
)
from vlm.models.cache import TextCache

Q, A, T = 4, 3, 6  # prefixes, texts that go on from each, their tokens


def causal(length: int) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool).tril()


def prefixes() -> tuple[Tensor, Tensor]:
    """Sequences ``(Q, L, D)`` of which the last is not there, and where they are real."""
    real = torch.arange(L) < torch.tensor([5, 3, 1, 0]).unsqueeze(1)
    return tiny.random(Q, L, WIDTH, seed=11).double(), real


def whole_mask(real: Tensor) -> Tensor:
    """``(Q, 1, L + T, L + T)``: a prefix hears all of itself, a text hears it and itself so far.

    Padding hears itself, so that no row is empty.
    """
    mask = torch.zeros(Q, L + T, L + T, dtype=torch.bool)
    mask[:, :, :L] = real.unsqueeze(1)
    mask[:, L:, L:] = causal(T)
    return (mask | torch.eye(L + T, dtype=torch.bool)).unsqueeze(1)


def test_following_is_masked_attention_over_the_whole_sequence_forward_and_backward():
    attention = tiny.enliven(MultiHeadAttention(WIDTH, HEADS)).double()
    (before, real), texts = prefixes(), tiny.random(Q, A, T, WIDTH, seed=12).double()
    before, texts = before.requires_grad_(), texts.requires_grad_()
    found = attention.follow(texts, attention.project(before), real)
    assert found.shape == (Q, A, T, WIDTH)
    expected = []
    for index in range(A):
        whole = torch.cat([before, texts[:, index]], dim=1)
        heard = attention(whole, attention.project(whole), whole_mask(real))
        expected.append(heard[:, L:])
    assert_close(found, torch.stack(expected, dim=1))
    upstream = tiny.random(Q, A, T, WIDTH, seed=13).double()
    inputs = [before, texts, *attention.parameters()]
    assert_close(
        torch.autograd.grad(found, inputs, upstream),
        torch.autograd.grad(torch.stack(expected, dim=1), inputs, upstream),
    )


def test_following_does_not_hear_padding_or_another_text():
    attention = tiny.enliven(MultiHeadAttention(WIDTH, HEADS)).double()
    (before, real), texts = prefixes(), tiny.random(Q, A, T, WIDTH, seed=12).double()
    plain = attention.follow(texts, attention.project(before), real)
    noise = 1e3 * tiny.random(Q, L, WIDTH, seed=14).double()
    noisy = torch.where(real.unsqueeze(-1), before, noise)
    assert_close(attention.follow(texts, attention.project(noisy), real), plain)
    prefix = attention.project(before)
    alone = [attention.follow(texts[:, [index]], prefix, real) for index in range(A)]
    assert_close(torch.cat(alone, dim=1), plain)


def test_the_branch_that_follows_adds_what_it_finds():
    branch = tiny.enliven(SelfAttention(WIDTH, HEADS, dropout=0.0)).double()
    (before, real), texts = prefixes(), tiny.random(Q, A, T, WIDTH, seed=12).double()
    places = torch.eye(L, dtype=torch.bool)
    read, prefix = branch.remember(before, real[:, None, None, :] | places)
    found = branch.follow(texts, prefix, real)
    for index in range(A):
        whole = branch(torch.cat([before, texts[:, index]], dim=1), whole_mask(real))
        assert_close(found[:, index], whole[:, L:])
        assert_close(read[real], whole[:, :L][real])


@pytest.mark.parametrize("masked", [False, True])
def test_steps_are_the_whole_sequence(masked):
    """Of ``C`` sequences an image; with a mask, the first token of the second image is hidden."""
    branch = tiny.enliven(SelfAttention(WIDTH, HEADS, dropout=0.0))
    sequences = tiny.random(B * C, L, WIDTH, seed=15)
    hidden = torch.zeros(B, C, L, dtype=torch.bool)
    hidden[1, :, 0] = masked
    looked_at = ~hidden.view(B * C, 1, 1, L)
    expected = branch(sequences, causal(L) & looked_at | torch.eye(L, dtype=torch.bool))
    cache = TextCache(torch.ones(B * C, 0, dtype=torch.bool))
    for place in range(L):
        heard = cache.widen(1)
        mask = looked_at[..., : place + 1] if masked and place else heard
        found = branch.step(sequences[:, [place]], partial(cache.extend, 0), mask)
        assert_close(found, expected[:, [place]])


def test_an_encoder_block_is_that_of_torch_forward_and_backward():
    ours = tiny.enliven(EncoderBlock(WIDTH, HEADS, dropout=0.0)).double()
    theirs = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
    ).double()
    attention, mlp = ours.self_attention.attention, ours.feed_forward.mlp
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(
            torch.cat([attention.query.weight, attention.key_value.weight])
        )
        theirs.self_attn.in_proj_bias.copy_(
            torch.cat([attention.query.bias, attention.key_value.bias])
        )
    theirs.self_attn.out_proj.load_state_dict(attention.output.state_dict())
    theirs.norm1.load_state_dict(ours.self_attention.norm.state_dict())
    theirs.norm2.load_state_dict(ours.feed_forward.norm.state_dict())
    theirs.linear1.load_state_dict(mlp[0].state_dict())
    theirs.linear2.load_state_dict(mlp[2].state_dict())
    sequence, real = prefixes()
    sequence, real = sequence[:3].requires_grad_(), real[:3]  # torch has no row without a place
    found = ours(sequence, real[:, None, None, :])
    expected = theirs(sequence, src_key_padding_mask=~real)
    assert_close(found, expected)
    upstream = tiny.random(3, L, WIDTH, seed=16).double()
    assert_close(
        torch.autograd.grad(found, sequence, upstream),
        torch.autograd.grad(expected, sequence, upstream),
    )


def test_where_a_text_looks_is_what_it_finds():
    branch = tiny.enliven(CrossAttention(WIDTH, HEADS, dropout=0.0))
    text, memory = tiny.random(B, L, WIDTH), tiny.memory()
    key_values, mask = branch.attention.project(memory.features), memory.mask[:, None, None, :]
    weights = branch.weights(text, key_values, mask)
    assert weights.shape == (B, HEADS, L, N)
    assert_close(weights.sum(dim=-1), torch.ones(B, HEADS, L))
    heads = (weights @ key_values.values).transpose(1, 2).flatten(2)
    assert_close(branch(text, key_values, mask), text + branch.attention.output(heads))


def test_every_place_thinks_for_itself():
    branch = tiny.enliven(FeedForward(WIDTH, dropout=0.0))
    places = tiny.random(B, C, L, WIDTH)
    alone = torch.stack([branch(place) for place in places.flatten(0, 2)])
    assert_close(branch(places), alone.view(B, C, L, WIDTH))
    assert (branch(places) - places).abs().mean() > 0.1


def test_dropout_takes_what_branches_add_and_never_what_they_were_given():
    almost_all = 1 - 1e-12
    text, mask, real = tiny.random(Q, L, WIDTH), causal(L), prefixes()[1]
    self_attention = SelfAttention(WIDTH, HEADS, dropout=almost_all)
    cross_attention = CrossAttention(WIDTH, HEADS, dropout=almost_all)
    kept, own = self_attention.remember(text, mask)
    regions = cross_attention.attention.project(tiny.random(Q, N, WIDTH))
    several = tiny.random(Q, A, T, WIDTH)
    assert torch.equal(kept, text)
    assert torch.equal(self_attention.step(text, lambda own: own, None), text)
    assert torch.equal(self_attention.follow(several, own, real), several)
    assert torch.equal(cross_attention(text, regions, torch.ones(1, N, dtype=torch.bool)), text)
    assert torch.equal(FeedForward(WIDTH, dropout=almost_all)(text), text)
    assert not torch.equal(self_attention.eval()(text, mask), text)


@pytest.mark.parametrize("kind", [EncoderBlock, DecoderBlock])
def test_branches_start_small(kind):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = kind(60, 3, dropout=0.0)
        before = {name: weight.clone() for name, weight in block.named_parameters()}
        start_small(block, 0.007)
    last = {"self_attention.attention.output", "feed_forward.mlp.2"}
    if kind is DecoderBlock:
        last.add("cross_attention.attention.output")
    touched = {name for name, weight in block.named_parameters() if (weight != before[name]).any()}
    assert touched == {f"{name}.{part}" for name in last for part in ("weight", "bias")}
    for name in last:
        layer = block.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        assert not layer.bias.any()
        # Of 3,600 numbers or more: four standard errors of a standard deviation are 5 %.
        assert layer.weight.std().item() == pytest.approx(0.007, rel=0.05)
