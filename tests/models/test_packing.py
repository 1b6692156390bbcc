"""Where the tokens of sequences lie, packed and in rows."""

import torch
from torch.testing import assert_close

from vlm.models.packing import Packing

REAL = torch.tensor([[[1, 1, 1], [1, 0, 0]], [[1, 0, 0], [1, 1, 0]]]).bool()
TOKENS = torch.tensor([[[10, 11, 12], [20, 0, 0]], [[30, 0, 0], [40, 41, 0]]])


def test_padding_is_left_out():
    packing = Packing.of(REAL)
    packed = packing.pack(TOKENS)
    assert packed.tolist() == [10, 11, 12, 20, 30, 40, 41]
    assert packing.positions.tolist() == [0, 1, 2, 0, 0, 0, 1]
    assert packing.unpack(packed).tolist() == TOKENS.tolist()


def test_rows_hold_the_tokens_of_an_image():
    packing = Packing.of(REAL)
    packed = packing.pack(TOKENS)
    assert packing.spread(packed).tolist() == [[10, 11, 12, 20], [30, 40, 41, 0]]
    assert packing.collect(packing.spread(packed)).tolist() == packed.tolist()


def test_a_place_sees_its_own_sequence_up_to_itself():
    first, second = Packing.of(REAL).causal_mask().squeeze(1).int().tolist()
    assert first == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert second == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_a_place_sees_all_of_its_own_sequence():
    _, second = Packing.of(REAL).sequence_mask().squeeze(1).int().tolist()
    assert second == [[1, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_without_padding_nothing_moves():
    packing = Packing.of(torch.ones(2, 3, 5, dtype=torch.bool))
    features = torch.arange(2 * 3 * 5 * 7).view(30, 7)
    assert torch.equal(packing.spread(features), features.view(2, 15, 7))
    assert torch.equal(packing.unpack(features), features.view(2, 3, 5, 7))


def test_an_image_without_a_token_has_a_row_of_padding():
    real = torch.tensor([[[1, 1]], [[0, 0]]]).bool()
    packing = Packing.of(real)
    assert packing.spread(torch.tensor([5, 6])).tolist() == [[5, 6], [0, 0]]
    assert packing.causal_mask()[1, 0].tolist() == [[True, False], [True, True]]


def test_gradients_go_where_the_tokens_came_from():
    packing = Packing.of(REAL)
    features = torch.randn(2, 2, 3, 4, requires_grad=True)
    weights = torch.arange(7.0).unsqueeze(1) + 1
    way = packing.unpack(packing.collect(packing.spread(packing.pack(features))))
    (way[REAL] * weights).sum().backward()
    expected = torch.zeros(2, 2, 3)
    expected[REAL] = weights.squeeze(1)
    assert_close(features.grad, expected.unsqueeze(-1).expand_as(features))
