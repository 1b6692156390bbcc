"""A whole captioner, and the states from which it writes."""

import pytest
import tiny
import torch
from tiny import HEADS, REGION_WIDTH, SPECIAL, WIDTH, B, C, L, V
from torch import Tensor
from torch.testing import assert_close

from vlm.decoding import BeamSearch, Decoded, Greedy, Sampling, Strategy
from vlm.errors import InputError
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
from vlm.models.writing import WritingState

IMAGES = 5


def captioner() -> Captioner:
    """Its captions have several lengths: the later, the closer to the end."""
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH, layers=1, heads=HEADS)
    decoder = tiny.decoder()
    lateness = 0.4 * torch.arange(decoder.max_length).unsqueeze(1)
    end = decoder.token_embedding.weight.data[SPECIAL.end]
    decoder.position_embedding.weight.data += lateness * end
    return Captioner(tiny.enliven(encoder, seed=6), decoder).eval()


def write(model: Captioner, strategy: Strategy) -> Decoded:
    with torch.no_grad():
        state = model.start(model.encode(tiny.regions(IMAGES)))
        return strategy.decode(state, batch=IMAGES, special=SPECIAL, device=torch.device("cpu"))


def from_scratch(decoder: TextDecoder, histories: Tensor, memory: Memory) -> Tensor:
    """Log-probabilities (B, K, V) of what follows histories (B, K, L)."""
    return decoder.logits(decoder(histories, memory)[:, :, -1]).log_softmax(-1)


def test_forward_is_encode_then_decode():
    model, regions, tokens = captioner(), tiny.regions(), tiny.tokens(B, C, L)
    hidden = model(regions, tokens)
    assert hidden.shape == (B, C, L, WIDTH)
    assert_close(hidden, model.decoder(tokens, model.encode(regions)))
    real = torch.arange(L) < torch.tensor([[5, 1, 3], [2, 4, 2]]).unsqueeze(-1)
    assert_close(model(regions, tokens, real=real)[real], hidden[real])


def test_the_state_under_reorder_is_recomputation_from_scratch():
    """One row, then 4, then shuffled with repeats and losses, then 2."""
    decoder, memory = tiny.decoder(), tiny.memory()
    state = WritingState(decoder, decoder.project(memory))
    histories = torch.full((B, 1, 1), SPECIAL.start)
    assert_close(state.step(histories[..., -1]), from_scratch(decoder, histories, memory))
    orders = [[[0] * 4] * B, [[3, 0, 0, 2], [1, 1, 3, 0]], [[2, 1], [3, 3]], [[1, 0, 1], [0, 0, 1]]]
    for index, order in enumerate(orders):
        rows = torch.tensor(order)
        state.reorder(rows)
        kept = torch.stack([history[row] for history, row in zip(histories, rows, strict=True)])
        newest = tiny.tokens(B, rows.shape[1], 2, seed=20 + index)[..., 1:]
        histories = torch.cat([kept, newest], dim=-1)
        found = state.step(newest.squeeze(-1))
        assert found.dtype == torch.float32
        assert_close(found, from_scratch(decoder, histories, memory))


def test_two_reorders_in_a_row_are_one():
    decoder, memory = tiny.decoder(), tiny.memory()
    first, second = torch.tensor([[0] * 4] * B), torch.tensor([[3, 0], [1, 2]])
    newest = tiny.tokens(B, 2, 2)[..., 1]
    found = []
    for orders in ([first, second], [first.gather(1, second)]):
        state = WritingState(decoder, decoder.project(memory))
        state.step(torch.full((B, 1), SPECIAL.start))
        for order in orders:
            state.reorder(order)
        found.append(state.step(newest))
    assert_close(*found)


def test_the_memory_is_projected_once_and_never_repeated():
    decoder = tiny.decoder()
    projected = []
    for block in decoder.blocks:
        block.cross_attention.attention.key_value.register_forward_hook(
            lambda module, inputs, output: projected.append(tuple(output.shape))
        )
    state = WritingState(decoder, decoder.project(tiny.memory(B)))
    BeamSearch(beams=3, max_length=5).decode(
        state, batch=B, special=SPECIAL, device=torch.device("cpu")
    )
    assert projected == [(B, tiny.N, 2 * WIDTH)] * tiny.LAYERS


def test_one_beam_is_greedy():
    model = captioner()
    beam, greedy = (
        write(model, BeamSearch(beams=1, max_length=9)),
        write(model, Greedy(max_length=9)),
    )
    assert torch.equal(beam.tokens, greedy.tokens)
    assert_close(beam.log_probabilities, greedy.log_probabilities)
    assert len({tuple(row) for row in greedy.tokens[:, 0].tolist()}) > 1


@pytest.mark.parametrize(
    "strategy",
    [
        BeamSearch(beams=4, max_length=9),
        Greedy(max_length=9),
        Sampling(samples=3, max_length=9, seed=1),
    ],
    ids=["beams", "greedy", "sampling"],
)
def test_log_probabilities_are_those_of_a_teacher_forced_reading(strategy):
    model = captioner()
    decoded = write(model, strategy)
    rows = decoded.tokens.shape[1]
    start = torch.full((IMAGES, rows, 1), SPECIAL.start)
    read = torch.cat([start, decoded.tokens[..., :-1]], dim=-1)
    hidden = model(tiny.regions(IMAGES), read)
    predicted = model.decoder.logits(hidden).log_softmax(-1)
    expected = predicted.gather(-1, decoded.tokens.unsqueeze(-1)).squeeze(-1)
    real = torch.arange(read.shape[-1]) < decoded.lengths.unsqueeze(-1)
    assert_close(decoded.log_probabilities[real], expected[real])
    assert decoded.lengths.unique().numel() > 1
    if isinstance(strategy, BeamSearch):
        assert_close(decoded.scores, (expected * real).sum(-1) / decoded.lengths)


def test_sight_reaches_the_captions_and_the_blind_have_none():
    seeing = captioner()
    blind = Captioner(BlindEncoder(REGION_WIDTH, width=WIDTH), seeing.decoder)
    assert write(blind, Greedy(max_length=9)).tokens.unique(dim=0).shape[0] == 1
    assert write(seeing, Greedy(max_length=9)).tokens.unique(dim=0).shape[0] > 1


def test_widths_that_differ_are_refused():
    with pytest.raises(InputError, match=r"encoder\.width=12, decoder\.width=15"):
        Captioner(BlindEncoder(REGION_WIDTH, width=12), TextDecoder(V, width=WIDTH, heads=HEADS))
