"""Several tables as one state: the mean of what they say, wherever rows go."""

import pytest
import torch
from test_decoding import CPU, SPECIAL, TableState, decode, random_tables, sequences
from torch.testing import assert_close

from vlm.decoding import BeamSearch, EnsembleState, Greedy


def test_every_step_is_the_mean_of_probabilities_and_reordering_reaches_all():
    tables = [random_tables(2, 7, seed=seed) for seed in (31, 32, 33)]
    together = EnsembleState([TableState(*pair) for pair in tables])
    apart = [TableState(*pair) for pair in tables]
    read = [torch.tensor([[0], [0]]), torch.tensor([[3, 5, 4], [6, 3, 3]]), torch.tensor([[4, 2]])]
    rows = [torch.tensor([[0, 0, 0], [0, 0, 0]]), torch.tensor([[2, 0], [1, 2]])]
    for step, tokens in enumerate(read):
        tokens = tokens.expand(2, -1)
        said = [state.step(tokens) for state in apart]
        by_hand = (said[0].exp() + said[1].exp() + said[2].exp()) / 3
        predicted = together.step(tokens)
        assert_close(predicted.exp(), by_hand)
        assert_close(predicted.logsumexp(-1), torch.zeros(predicted.shape[:2]))
        for state in (together, *apart) if step < len(rows) else ():
            state.reorder(rows[step])


def test_the_mean_is_of_probabilities_not_of_their_logarithms():
    sure = torch.full((1, 5, 5), -30.0)
    sure[..., 3] = 0.0
    torn = torch.full((1, 5, 5), -30.0)
    torn[..., 3:] = 0.0
    states = [TableState(table, torch.zeros(1, 5, 5)) for table in (sure, torn)]
    said = EnsembleState(states).step(torch.tensor([[0]]))[0, 0].exp()
    assert_close(said[3:], torch.tensor([0.75, 0.25]))


@pytest.mark.parametrize("strategy", [Greedy(max_length=7), BeamSearch(beams=3, max_length=7)])
@pytest.mark.parametrize("times", [1, 3])
def test_a_state_with_itself_says_what_it_says_alone(strategy, times):
    tables = random_tables(5, 11, seed=34, end=1.0)
    state = EnsembleState([TableState(*tables) for _ in range(times)])
    together = strategy.decode(state, batch=5, special=SPECIAL, device=CPU)
    alone = decode(strategy, tables)
    assert sequences(together) == sequences(alone)
    assert_close(together.scores, alone.scores)
