"""The equation against the fused kernel, and the heads against torch's own module."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from vlm.errors import InputError
from vlm.models.attention import KeyValues, MultiHeadAttention, attention, attention_weights
from vlm.models.packing import Packing

B, H, L, N, WIDTH, MEMORY_WIDTH = 2, 3, 5, 7, 39, 11


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def region_mask() -> Tensor:
    """(B, 1, 1, N): the second image has 4 regions, the others pad."""
    return torch.arange(N).expand(B, 1, 1, N) < torch.tensor([N, 4]).view(B, 1, 1, 1)


MASKS = {
    "no mask": None,
    "regions": region_mask(),
    "causal": torch.ones(L, N, dtype=torch.bool).tril(N - L),
    "both": region_mask() & torch.ones(L, N, dtype=torch.bool).tril(2),
}


def fresh(*, memory_width: int | None = None) -> MultiHeadAttention:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return MultiHeadAttention(WIDTH, H, memory_width=memory_width)


def torch_twin(ours: MultiHeadAttention, *, memory_width: int) -> nn.MultiheadAttention:
    """torch's module with a copy of the weights; a memory of another width has its own form."""
    theirs = nn.MultiheadAttention(WIDTH, H, kdim=memory_width, vdim=memory_width, batch_first=True)
    key, value = ours.key_value.weight.chunk(2)
    with torch.no_grad():
        if memory_width == WIDTH:
            theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, key, value]))
        else:
            theirs.q_proj_weight.copy_(ours.query.weight)
            theirs.k_proj_weight.copy_(key)
            theirs.v_proj_weight.copy_(value)
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    return theirs


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_equation_is_the_fused_kernel_forward_and_backward(mask):
    inputs = [random(B, H, length, 13, seed=seed) for seed, length in enumerate((L, N, N))]
    inputs = [tensor.double().requires_grad_() for tensor in inputs]
    readable = attention(*inputs, mask)
    fused = functional.scaled_dot_product_attention(*inputs, attn_mask=mask)
    assert_close(readable, fused)
    upstream = random(B, H, L, 13, seed=9).double()
    assert_close(
        torch.autograd.grad(readable, inputs, upstream),
        torch.autograd.grad(fused, inputs, upstream),
    )


def test_the_equation_by_hand():
    query, key = torch.tensor([[2.0, 0, 0, 0]]), torch.tensor([[1.0, 5, 0, 0], [0, 0, 5, 0]])
    first = torch.e / (torch.e + 1)  # of logits 2 * 1 / sqrt(4) and 0
    assert_close(attention_weights(query, key), torch.tensor([[first, 1 - first]]))
    value = torch.tensor([[3.0], [7.0]])
    assert_close(attention(query, key, value), torch.tensor([[7 - 4 * first]]))
    only_second = torch.tensor([[False, True]])
    assert_close(attention(query, key, value, only_second), torch.tensor([[7.0]]))


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_rows_sum_to_one_and_nothing_hidden_is_seen(mask):
    weights = attention_weights(random(B, H, L, 13), random(B, H, N, 13, seed=1), mask)
    assert_close(weights.sum(-1), torch.ones(B, H, L))
    assert (weights >= 0).all()
    if mask is not None:
        assert (weights.masked_select(~mask.expand(B, H, L, N)) == 0).all()
        assert (weights.masked_select(mask.expand(B, H, L, N)) > 0).all()


@pytest.mark.parametrize("memory_width", [WIDTH, MEMORY_WIDTH])
@pytest.mark.parametrize("masked", [False, True])
def test_heads_are_those_of_torch(memory_width, masked):
    ours = fresh(memory_width=memory_width)
    theirs = torch_twin(ours, memory_width=memory_width)
    queries, memory = random(B, L, WIDTH), random(B, N, memory_width, seed=1)
    queries, memory = queries.requires_grad_(), memory.requires_grad_()
    mask = region_mask() if masked else None
    padding = None if mask is None else ~mask.view(B, N)
    expected, weights = theirs(
        queries, memory, memory, key_padding_mask=padding, average_attn_weights=False
    )
    key_values = ours.project(memory)
    found = ours(queries, key_values, mask)
    assert_close(found, expected)
    assert_close(ours.weights(queries, key_values, mask), weights)
    upstream = random(B, L, WIDTH, seed=2)
    assert_close(
        torch.autograd.grad(found, (queries, memory), upstream),
        torch.autograd.grad(expected, (queries, memory), upstream),
    )


def test_self_attention_is_that_of_torch():
    ours = fresh()
    theirs = torch_twin(ours, memory_width=WIDTH)
    text = random(B, L, WIDTH)
    causal = torch.ones(L, L, dtype=torch.bool).tril()
    expected, _ = theirs(text, text, text, attn_mask=~causal, need_weights=False)
    assert_close(ours(text, ours.project(text), causal), expected)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_weights_times_values_is_forward(mask):
    ours = fresh(memory_width=MEMORY_WIDTH)
    queries, key_values = random(B, L, WIDTH), ours.project(random(B, N, MEMORY_WIDTH, seed=1))
    weights = ours.weights(queries, key_values, mask)
    assert weights.shape == (B, H, L, N)
    by_weights = ours.output((weights @ key_values.values).transpose(1, 2).flatten(2))
    assert_close(by_weights, ours(queries, key_values, mask))


def test_padding_of_the_memory_changes_nothing():
    ours = fresh(memory_width=MEMORY_WIDTH)
    queries, memory = random(B, L, WIDTH), random(B, N, MEMORY_WIDTH, seed=1)
    padded = torch.cat([memory, 1e4 * random(B, 3, MEMORY_WIDTH, seed=2)], dim=1)
    mask = (torch.arange(N + 3) < N).unsqueeze(0)
    assert_close(ours(queries, ours.project(padded), mask), ours(queries, ours.project(memory)))
    weights = ours.weights(queries, ours.project(padded), mask)
    assert_close(weights[..., :N], ours.weights(queries, ours.project(memory)))


def test_permuting_regions_permutes_maps_and_leaves_outputs():
    ours = fresh(memory_width=MEMORY_WIDTH)
    queries, memory = random(B, L, WIDTH), random(B, N, MEMORY_WIDTH, seed=1)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    plain, permuted = ours.project(memory), ours.project(memory[:, order])
    mask = region_mask()
    assert_close(
        ours.weights(queries, permuted, mask[..., order]),
        ours.weights(queries, plain, mask)[..., order],
    )
    assert_close(ours(queries, permuted, mask[..., order]), ours(queries, plain, mask))


def test_key_values_are_of_rows():
    ours = fresh(memory_width=MEMORY_WIDTH)
    memory = random(B, N, MEMORY_WIDTH)
    whole = ours.project(memory)
    assert whole.keys.shape == whole.values.shape == (B, H, N, WIDTH // H)
    rows = torch.tensor([1, 0, 1])
    assert_close(whole.select(rows), KeyValues(whole.keys[rows], whole.values[rows]))


def test_packed_queries_find_what_each_finds_alone():
    ours = fresh(memory_width=MEMORY_WIDTH)
    real = torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 0]]]).bool()
    packing, texts = Packing.of(real), random(2, 2, 3, WIDTH)
    key_values = ours.project(random(2, N, MEMORY_WIDTH, seed=1))
    mask = (torch.arange(N) < torch.tensor([[N], [N - 2]]))[:, None, None, :]
    rows = texts.flatten(1, 2)
    packed = packing.pack(texts)
    found = ours(packed, key_values, mask, packing)
    assert_close(found, ours(rows, key_values, mask).view_as(texts)[real])
    weights = packing.collect(ours.weights(packed, key_values, mask, packing).transpose(1, 2))
    expected = ours.weights(rows, key_values, mask).transpose(1, 2).unflatten(1, (2, 3))
    assert_close(weights, expected[real])


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="width=39, heads=4"):
        MultiHeadAttention(39, 4)
