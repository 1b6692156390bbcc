"""Where sequences lie in a row."""

import torch

from vlm.models.packing import Packing

REAL = torch.tensor([[[1, 1, 1], [1, 0, 0]], [[1, 0, 0], [1, 1, 0]]]).bool()
TOKENS = torch.tensor([[[10, 11, 12], [20, 0, 0]], [[30, 0, 0], [40, 41, 0]]])


def test_padding_is_left_out():
    packing = Packing.of(REAL)
    assert packing.pack(TOKENS).tolist() == [[10, 11, 12, 20], [30, 40, 41, 0]]
    assert packing.positions[:, :3].tolist() == [[0, 1, 2], [0, 0, 1]]
    assert packing.unpack(packing.pack(TOKENS))[REAL].tolist() == TOKENS[REAL].tolist()


def test_a_place_sees_its_own_sequence_up_to_itself():
    first, second = Packing.of(REAL).causal_mask().squeeze(1).int().tolist()
    assert first == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    assert [row[:3] for row in second[:3]] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert second[3][3]  # even padding sees itself, so that no softmax is over nothing


def test_without_padding_nothing_moves():
    packing = Packing.of(torch.ones(2, 3, 5, dtype=torch.bool))
    features = torch.arange(2 * 3 * 5 * 7).view(2, 15, 7)
    assert packing.source.tolist() == [list(range(15))] * 2
    assert torch.equal(packing.unpack(features), features.view(2, 3, 5, 7))
