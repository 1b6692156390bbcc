"""What rows hear when they branch, change places and are left out."""

import torch

from vlm.models.attention import KeyValues
from vlm.models.cache import ROOM, TextCache


def write(cache: TextCache, tokens: list[list[int]]) -> list[list[list[int]]]:
    """Writes a token a row ``(Q, K)``; the tokens that each row hears then, its own last."""
    newest = torch.tensor(tokens, dtype=torch.float)[:, None, :, None]
    heard = cache.widen(newest.shape[2]).squeeze(1)
    written = cache.extend(0, KeyValues(newest, -newest))
    assert torch.equal(written.values, -written.keys)
    everything = written.keys.flatten(1)
    return [
        [row_tokens[mask].int().tolist() for mask in masks]
        for row_tokens, masks in zip(everything, heard, strict=True)
    ]


def fresh(sequences: int) -> TextCache:
    return TextCache(torch.ones(sequences, 0, dtype=torch.bool))


def test_rows_hear_their_ancestors_and_themselves():
    cache = fresh(2)
    assert write(cache, [[1], [2]]) == [[[1]], [[2]]]
    cache.reorder(torch.zeros(2, 3, dtype=torch.long))
    found = write(cache, [[10, 11, 12], [20, 21, 22]])
    assert found == [[[1, 10], [1, 11], [1, 12]], [[2, 20], [2, 21], [2, 22]]]
    cache.reorder(torch.tensor([[2, 0], [1, 1]]))
    found = write(cache, [[100, 101], [200, 201]])
    assert found == [[[1, 12, 100], [1, 10, 101]], [[2, 21, 200], [2, 21, 201]]]
    assert cache.length == 3


def test_rows_of_a_fresh_sequence_do_not_hear_each_other():
    assert write(fresh(1), [[5, 6]]) == [[[5], [6]]]


def test_what_is_left_out_is_missed_by_none():
    cache = fresh(3)
    write(cache, [[1], [2], [3]])
    cache.keep(torch.tensor([0, 2]))
    assert write(cache, [[10], [30]]) == [[[1, 10]], [[3, 30]]]


def test_rows_go_on_from_a_padded_prefix():
    real = torch.tensor([[True, True], [True, False]])
    prefix = torch.tensor([[7.0, 8.0], [9.0, 0.0]])[:, None, :, None]
    cache = TextCache(real, [KeyValues(prefix, -prefix)])
    assert write(cache, [[1, 2], [3, 4]]) == [[[7, 8, 1], [7, 8, 2]], [[9, 3], [9, 4]]]
    assert cache.length == 3


def test_there_is_room_for_more_than_was_made_at_first():
    cache = fresh(1)
    for token in range(3 * ROOM):
        assert write(cache, [[token]]) == [[list(range(token + 1))]]
