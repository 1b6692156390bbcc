"""Diverse beam search against one written out in plain loops, and against plain beam search."""

from collections import Counter
from dataclasses import replace
from math import inf, nan

import pytest
import test_decoding as of_all
import torch
from test_decoding import CPU, SPECIAL, TableState, decode, random_tables, sequences, walk
from torch import Tensor
from torch.testing import assert_close

from vlm.decoding import BeamSearch, DiverseBeamSearch
from vlm.errors import InputError

STRATEGIES = [
    DiverseBeamSearch(groups=3, beams=1, max_length=7),
    DiverseBeamSearch(groups=2, beams=3, diversity=0.8, max_length=7, length_penalty=0.0),
]
OF_ALL = [
    of_all.test_log_probabilities_are_those_of_the_tables,
    of_all.test_ended_sequences_stay_ended,
    of_all.test_a_batch_is_its_images_one_by_one,
]


def by_hand(
    search: DiverseBeamSearch, tables: list[Tensor], image: int
) -> list[tuple[float, list[int]]]:
    """All that the groups find of one image with their scores, in the groups' order."""
    living: list[list[tuple[float, list[int]]]] = [[(0.0, [])]] * search.groups
    found: list[list[tuple[float, list[int]]]] = [[] for _ in living]
    done = [False for _ in living]
    for length in range(1, search.max_length + 1):
        cost: Counter[int] = Counter()
        for group, rows in enumerate(living):
            ranked = []
            for rank, said in rows:
                for token in range(2 if length > search.min_length else 3, len(tables[0][0])):
                    likely = walk(tables, image, [*said, token])[-1].item()
                    ranked.append((rank + likely - search.diversity * cost[token], [*said, token]))
            ranked = sorted(ranked, reverse=True)[: 2 * search.beams]
            living[group] = [row for row in ranked if row[1][-1] != SPECIAL.end][: search.beams]
            if done[group]:
                continue
            cost.update(said[-1] for _, said in living[group])
            for rank, said in ranked[: search.beams]:
                if said[-1] == SPECIAL.end or length == search.max_length:
                    found[group].append((rank / length**search.length_penalty, said))
            found[group] = sorted(found[group], reverse=True)[: search.beams]
            if len(found[group]) == search.beams:
                hope = living[group][0][0] / length**search.length_penalty
                done[group] = hope <= found[group][-1][0]
    return [
        (walk(tables, image, said).sum().item() / len(said) ** search.length_penalty, said)
        for group in found
        for _, said in group
    ]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("diversity", [0.3, 1.1, 30.0])
@pytest.mark.parametrize(("groups", "beams"), [(2, 1), (4, 1), (2, 2), (3, 2)])
def test_it_finds_what_plain_loops_find(groups, beams, diversity, length_penalty):
    tables = random_tables(5, 7, seed=21, end=1.0)
    search = DiverseBeamSearch(
        beams,
        groups=groups,
        diversity=diversity,
        length_penalty=length_penalty,
        min_length=1,
        max_length=5,
    )
    decoded = decode(search, tables)
    for image, rows in enumerate(sequences(decoded)):
        expected = sorted(by_hand(search, tables, image), key=lambda found: -found[0])
        assert rows == [said for _, said in expected]
        assert_close(decoded.scores[image], torch.tensor([score for score, _ in expected]))


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("beams", [1, 3])
def test_without_diversity_every_group_is_beam_search(beams, length_penalty):
    tables = random_tables(5, 11, seed=22, end=1.0)
    options = {"length_penalty": length_penalty, "no_repeat_ngram": 2, "max_length": 7}
    plain = decode(BeamSearch(beams, **options), tables)
    groups = decode(DiverseBeamSearch(beams, groups=4, diversity=0.0, **options), tables)
    for every, field in zip(groups, plain, strict=True):
        assert_close(every, field.repeat_interleave(4, dim=1))  # the best first, four times


@pytest.mark.parametrize("diversity", [0.5, 100.0])
def test_one_group_is_beam_search(diversity):
    tables = random_tables(5, 11, seed=23, end=1.0)
    plain = decode(BeamSearch(3, max_length=7, min_length=2), tables)
    one = decode(
        DiverseBeamSearch(3, groups=1, diversity=diversity, max_length=7, min_length=2), tables
    )
    for fields in zip(one, plain, strict=True):
        assert_close(*fields)


def test_dear_words_are_said_by_one_group_alone():
    tables = random_tables(3, 13, seed=24, end=-50.0)
    rows = decode(DiverseBeamSearch(1, groups=5, diversity=100.0, max_length=6), tables).tokens
    for position in rows.unbind(-1):
        assert all(len(set(words)) == 5 for words in position.tolist())
    rows = decode(DiverseBeamSearch(1, groups=5, diversity=0.0, max_length=6), tables).tokens
    assert (rows == rows[:, :1]).all()


def test_groups_come_best_first_by_what_the_model_says_alone():
    decoded = decode(
        DiverseBeamSearch(2, groups=5, diversity=5.0, length_penalty=0.5),
        random_tables(5, 11, seed=25),
    )
    assert_close(decoded.scores, decoded.sums / decoded.lengths**0.5)
    assert (decoded.scores.diff(dim=1) <= 0).all()
    assert (decoded.scores.diff(dim=1) < 0).any()


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize("holds", OF_ALL, ids=lambda test: test.__name__[5:])
def test_what_holds_of_every_strategy_holds(holds, strategy):
    holds(strategy)


def test_all_groups_begin_with_the_one_row_that_is_read():
    newest, older = random_tables(2, 11, seed=9)
    newest[:, SPECIAL.start, SPECIAL.end] -= 50
    newest[:, SPECIAL.end + 1 :, SPECIAL.end] += 50
    state = TableState(newest, older)
    search = DiverseBeamSearch(groups=3, beams=2)
    decoded = search.decode(state, batch=2, special=SPECIAL, device=CPU)
    assert state.rows_read == [1, 6]
    assert (decoded.lengths == 2).all()


def test_where_everything_is_forbidden_nothing_is_found():
    search = DiverseBeamSearch(groups=2, beams=2, no_repeat_ngram=1, min_length=3)
    decoded = decode(search, random_tables(2, 5, seed=8))
    assert decoded.tokens.shape == (2, 4, 0)
    assert (decoded.scores == -inf).all()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("groups", 0, "of at least 1"),
        ("beams", 0, "of at least 1"),
        ("diversity", -0.1, r"in \[0, 100\]"),
        ("diversity", nan, r"in \[0, 100\]"),
        ("length_penalty", inf, r"in \[-10, 10\]"),
        ("no_repeat_ngram", -1, "of at least 0"),
        ("max_length", 0, "of at least 1"),
        ("min_length", 21, r"in \[0, 20\]"),
    ],
)
def test_options_out_of_range_are_refused(option, value, allowed):
    with pytest.raises(InputError, match=f"^DiverseBeamSearch .*{option}={value},.*{allowed}"):
        replace(DiverseBeamSearch(), **{option: value})
