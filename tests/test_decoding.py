"""Strategies are tested on tables of numbers, where every answer can be computed another way."""

import itertools
import json
from collections import Counter
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from vlm.decoding import BeamSearch, Decoded, Greedy, Sampling, SpecialTokens, Strategy
from vlm.errors import InputError

SPECIAL = SpecialTokens(start=0, end=2, pad=1)
CPU = torch.device("cpu")
GOLDEN = json.loads((Path(__file__).parent / "goldens" / "hf_beam.json").read_text())


class TableState:
    """Logits = newest[image, last] + (1 + position / 10) older[image, last but one]; (B, V, V).

    A row's past matters, so a wrong reordering shows, and so does a wrong number of rows.
    """

    def __init__(self, newest: Tensor, older: Tensor) -> None:
        self.newest, self.older = newest, older
        self.images = torch.arange(len(newest)).unsqueeze(1)
        self.before = torch.full((len(newest), 1), SPECIAL.start)
        self.rows_read: list[int] = []

    def step(self, tokens: Tensor) -> Tensor:
        assert tokens.shape == self.before.shape
        growth = 1 + len(self.rows_read) / 10
        self.rows_read.append(tokens.shape[1])
        logits = self.newest[self.images, tokens] + growth * self.older[self.images, self.before]
        self.before = tokens
        return logits.log_softmax(-1)

    def reorder(self, rows: Tensor) -> None:
        self.before = self.before.gather(1, rows)

    def keep(self, wanted: Tensor) -> Tensor:
        self.newest, self.older = self.newest[wanted], self.older[wanted]
        self.images, self.before = self.images[: wanted.sum()], self.before[wanted]
        return wanted


class StubbornState(TableState):
    """Goes on with every image to the end."""

    def keep(self, wanted: Tensor) -> Tensor:
        return torch.ones_like(wanted)


def random_tables(images: int, vocabulary: int, *, seed: int, end: float = 0.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tables = 1.3 * torch.randn(2, images, vocabulary, vocabulary, generator=generator)
    tables[0, ..., SPECIAL.end] += end
    return list(tables)


def decode(strategy: Strategy, tables: list[Tensor], special: SpecialTokens = SPECIAL) -> Decoded:
    state = TableState(*tables)
    return strategy.decode(state, batch=len(tables[0]), special=special, device=CPU)


def walk(tables: list[Tensor], image: int, tokens: list[int]) -> Tensor:
    """Log-probability of every token, read off the table with the sequence given."""
    state = TableState(*(table[image : image + 1] for table in tables))
    read = [SPECIAL.start, *tokens[:-1]]
    predicted = [state.step(torch.tensor([[token]]))[0, 0] for token in read]
    return torch.stack([row[token] for row, token in zip(predicted, tokens, strict=True)])


def sequences(decoded: Decoded) -> list[list[list[int]]]:
    pairs = zip(decoded.tokens.tolist(), decoded.lengths.tolist(), strict=True)
    return [[row[:n] for row, n in zip(rows, lengths, strict=True)] for rows, lengths in pairs]


STRATEGIES = [
    Sampling(samples=5, max_length=7, seed=3),
    Greedy(max_length=7),
    BeamSearch(beams=3, max_length=7),
    BeamSearch(beams=3, max_length=7, length_penalty=0.0),
]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(list(case.values())[:5]))
def test_beam_search_gives_the_captions_and_scores_of_hugging_face(case):
    tables = [torch.tensor(GOLDEN[name]) / 1000 for name in ("newest", "older")]
    special = SpecialTokens(GOLDEN["start"], GOLDEN["end"], GOLDEN["pad"])
    options = {name: case[name] for name in list(case)[:5]}
    decoded = decode(BeamSearch(**options), tables, special)
    assert sequences(decoded) == case["captions"]
    if case["scores"] is not None:
        assert_close(decoded.scores, torch.tensor(case["scores"]), rtol=1e-5, atol=1e-5)
    assert_close(decoded.scores, decoded.sums / decoded.lengths ** case["length_penalty"])


@pytest.mark.parametrize("min_length", [0, 1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_one_beam_is_greedy(seed, min_length):
    tables = random_tables(7, 11, seed=seed, end=1.0)
    greedy = decode(Greedy(min_length=min_length, max_length=5), tables)
    beam = decode(BeamSearch(beams=1, min_length=min_length, max_length=5), tables)
    assert sequences(beam) == sequences(greedy)
    assert_close(beam.log_probabilities, greedy.log_probabilities)


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.0])
def test_enough_beams_search_everything(length_penalty):
    tables, longest = random_tables(3, 5, seed=1), 4
    bodies = [b for n in range(1, longest + 1) for b in itertools.product([3, 4], repeat=n)]
    everything = [[*body, SPECIAL.end][:longest] for body in bodies]
    search = BeamSearch(len(everything) + 1, length_penalty=length_penalty, max_length=longest)
    decoded = decode(search, tables)
    for image, found in enumerate(sequences(decoded)):
        sums = [walk(tables, image, tokens).sum().item() for tokens in everything]
        scores = [s / len(t) ** length_penalty for s, t in zip(sums, everything, strict=True)]
        best_first = sorted(zip(scores, everything, strict=True), reverse=True)
        assert found == [tokens for _, tokens in best_first] + [[]]
        assert_close(decoded.scores[image, :-1], torch.tensor([score for score, _ in best_first]))
    missing = [field[:, -1].unique().tolist() for field in (*decoded, decoded.sums)]
    assert missing == [[SPECIAL.pad], [0], [0], [-inf], [-inf]]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_log_probabilities_are_those_of_the_tables(strategy):
    tables = random_tables(3, 11, seed=2, end=1.0)
    decoded = decode(strategy, tables)
    rows = [(image, tokens) for image, found in enumerate(sequences(decoded)) for tokens in found]
    walked = torch.stack([walk(tables, *row).sum() for row in rows])
    assert_close(decoded.sums, walked.view(decoded.scores.shape))


@pytest.mark.parametrize(
    "strategy", [*STRATEGIES, Sampling(samples=4, max_length=7, seed=1, greedy=True)], ids=str
)
def test_images_that_are_left_out_when_done_are_none_that_others_miss(strategy):
    tables = random_tables(9, 11, seed=7, end=1.0)
    decoded, state = decode(strategy, tables), StubbornState(*tables)
    assert len(set(decoded.lengths.amax(dim=1).tolist())) > 1
    stubborn = strategy.decode(state, batch=9, special=SPECIAL, device=CPU)
    assert all(torch.equal(*pair) for pair in zip(decoded, stubborn, strict=True))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
def test_ended_sequences_stay_ended(strategy):
    decoded = decode(strategy, random_tables(5, 11, seed=3, end=1.0))
    assert len(set(decoded.lengths.flatten().tolist())) > 1
    assert decoded.tokens.shape[-1] == decoded.lengths.max()
    after = torch.arange(decoded.tokens.shape[-1]) >= decoded.lengths.unsqueeze(-1)
    assert (decoded.tokens[after] == SPECIAL.pad).all()
    assert (decoded.log_probabilities[after] == 0).all()
    for tokens in itertools.chain(*sequences(decoded)):
        assert SPECIAL.end not in tokens[:-1]
        assert tokens[-1] == SPECIAL.end or len(tokens) == strategy.max_length
    assert (decoded.scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("strategy", STRATEGIES[1:], ids=str)
def test_a_batch_is_its_images_one_by_one(strategy):
    tables = random_tables(5, 11, seed=4, end=1.0)
    together = decode(strategy, tables)
    alone = [decode(strategy, [table[i : i + 1] for table in tables]) for i in range(5)]
    assert sequences(together) == [sequences(one)[0] for one in alone]
    assert_close(together.scores, torch.cat([one.scores for one in alone]))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=str)
@pytest.mark.parametrize(
    "special",
    [
        SPECIAL,
        SpecialTokens(start=0, end=2, pad=2),
        SpecialTokens(start=0, end=2, pad=1, unknown=3),
    ],
)
def test_start_pad_and_unknown_are_never_said_and_the_end_is(strategy, special):
    tables = random_tables(3, 11, seed=5, end=4.0)
    for token in {special.start, special.pad, special.unknown} - {special.end, None}:
        tables[0][..., token] += 9
    said = Counter(itertools.chain(*itertools.chain(*sequences(decode(strategy, tables, special)))))
    assert said[special.start] == 0
    assert said[special.end] > 0
    assert special.pad == special.end or said[special.pad] == 0


@pytest.mark.parametrize("strategy", [Greedy(), BeamSearch(beams=3)], ids=str)
@pytest.mark.parametrize("min_length", [0, 1, 3, 5])
def test_lengths_keep_their_limits(strategy, min_length):
    strategy = replace(strategy, min_length=min_length, max_length=5)
    hasty = decode(strategy, random_tables(3, 11, seed=6, end=50.0))
    assert (hasty.lengths[:, 0] == min(min_length + 1, 5)).all()
    endless = decode(strategy, random_tables(3, 11, seed=6, end=-50.0))
    assert (endless.lengths == 5).all()
    assert (endless.tokens != SPECIAL.end).all()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_blocked_ngrams_never_repeat(n):
    tables = random_tables(3, 13, seed=7, end=-50.0)
    tables[0] += 3 * torch.eye(13)
    free = BeamSearch(beams=3, max_length=9)

    def distinct(strategy: Strategy) -> list[int]:
        rows = itertools.chain(*sequences(decode(strategy, tables)))
        return [len({tuple(row[i : i + n]) for i in range(10 - n)}) for row in rows]

    assert all(count < 10 - n for count in distinct(free))
    assert distinct(replace(free, no_repeat_ngram=n)) == [10 - n] * 9


def test_where_everything_is_forbidden_nothing_is_found():
    strategy = BeamSearch(beams=3, no_repeat_ngram=1, min_length=3)
    decoded = decode(strategy, random_tables(2, 5, seed=8))
    assert decoded.tokens.shape == (2, 3, 0)
    assert (decoded.scores == -inf).all()


@pytest.mark.parametrize("strategy", [Greedy(), Sampling(samples=3), BeamSearch(beams=3)])
def test_one_row_is_read_first_and_nothing_after_all_have_ended(strategy):
    newest, older = random_tables(2, 11, seed=9)
    newest[:, SPECIAL.start, SPECIAL.end] -= 50
    newest[:, SPECIAL.end + 1 :, SPECIAL.end] += 50
    state = TableState(newest, older)
    decoded = strategy.decode(state, batch=2, special=SPECIAL, device=CPU)
    assert state.rows_read == [1, decoded.scores.shape[1]]
    assert (decoded.lengths == 2).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_distribution_of_the_tables(temperature):
    samples, choices = 20011, (SPECIAL.end, 3, 4)
    tables = [table / 2 for table in random_tables(2, 5, seed=18)]
    strategy = Sampling(samples=samples, temperature=temperature, max_length=2, seed=1)
    decoded = decode(strategy, tables)

    def after(image: int, read: list[int]) -> list[float]:
        """Probability of each choice once start and pad are left out."""
        logits = torch.stack([walk(tables, image, [*read, choice])[-1] for choice in choices])
        return (logits / temperature).softmax(-1).tolist()

    for image, found in enumerate(sequences(decoded)):
        first = dict(zip(choices, after(image, []), strict=True))
        expected = {(SPECIAL.end,): first[SPECIAL.end]}
        for word in (3, 4):
            second = zip(choices, after(image, [word]), strict=True)
            expected |= {(word, choice): first[word] * p for choice, p in second}
        counts = Counter(map(tuple, found))
        assert set(counts) == set(expected)
        errors = [(counts[key] - samples * p) ** 2 / (samples * p) for key, p in expected.items()]
        assert sum(errors) < 22.5  # chi-square, 6 degrees of freedom: 1 chance in 1000


def test_truncation_keeps_the_most_probable_tokens():
    probabilities = torch.tensor([0.0, 0.0, 0.05, 0.15, 0.5, 0.3, 0.0])
    newest = probabilities.log().expand(2, 7, 7)
    tables = [newest, torch.zeros(2, 7, 7)]

    def drawn(**options) -> set[int]:
        strategy = Sampling(samples=503, max_length=1, seed=2, **options)
        return set(decode(strategy, tables).tokens.flatten().tolist())

    assert drawn() == {2, 3, 4, 5}
    assert [drawn(top_k=k) for k in (1, 2, 3, 99)] == [{4}, {4, 5}, {3, 4, 5}, {2, 3, 4, 5}]
    assert [drawn(top_p=p) for p in (0.01, 0.49, 0.51, 0.79)] == [{4}, {4}, {4, 5}, {4, 5}]
    assert [drawn(top_p=p) for p in (0.81, 0.94, 0.96)] == [{3, 4, 5}] * 2 + [{2, 3, 4, 5}]
    assert drawn(top_k=2, top_p=0.6) == {4}  # 0.5 of the 0.8 that top_k leaves is 0.625


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 1e-6}], ids=str)
def test_sampling_only_the_best_is_greedy(options):
    tables = random_tables(5, 11, seed=11, end=1.0)
    greedy = decode(Greedy(min_length=0, max_length=7), tables)
    sampled = decode(Sampling(samples=3, max_length=7, seed=1, **options), tables)
    assert sequences(sampled) == [[row] * 3 for (row,) in sequences(greedy)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [{}, {"temperature": 0.3, "top_k": 3}, {"top_p": 0.5}], ids=str)
def test_the_greedy_row_comes_first_and_neither_changes_nor_is_changed(seed, options):
    """Images whose samples have ended early, and others whose greedy row has."""
    tables = random_tables(5, 11, seed=seed, end=1.0)
    greedy = decode(Greedy(min_length=0, max_length=7), tables)
    drawn = decode(Sampling(4, max_length=7, seed=seed, **options), tables)
    both = decode(Sampling(4, max_length=7, seed=seed, greedy=True, **options), tables)
    assert both.tokens.shape[:2] == (5, 5)
    assert [rows[:1] for rows in sequences(both)] == sequences(greedy)
    assert [rows[1:] for rows in sequences(both)] == sequences(drawn)
    assert_close(both.sums[:, :1], greedy.sums)
    assert_close(both.sums[:, 1:], drawn.sums)
    assert (both.scores[:, 1:].diff(dim=1) <= 0).all()


def test_the_greedy_row_comes_first_even_where_a_sample_is_better():
    tables = random_tables(20, 11, seed=1, end=1.0)
    both = decode(Sampling(4, max_length=7, seed=1, greedy=True), tables)
    assert (both.scores[:, 0] < both.scores[:, 1:].amax(dim=1)).any()


def test_a_seed_makes_samples_the_same_and_leaves_the_global_generator_alone():
    tables = random_tables(3, 11, seed=12)
    seeded = Sampling(samples=5, seed=7)
    before = torch.random.get_rng_state()
    first = decode(seeded, tables)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_close(decode(seeded, tables), first, rtol=0, atol=0)
    assert sequences(decode(replace(seeded, seed=8), tables)) != sequences(first)


def test_without_a_seed_the_global_generator_decides():
    tables, unseeded = random_tables(3, 11, seed=12), Sampling(samples=5)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = decode(unseeded, tables), decode(unseeded, tables)
        torch.manual_seed(3)
        again = decode(unseeded, tables)
    assert_close(again, first, rtol=0, atol=0)
    assert sequences(second) != sequences(first)


@pytest.mark.parametrize(
    ("strategy", "option", "value", "allowed"),
    [
        (Greedy, "max_length", 0, "of at least 1"),
        (Greedy, "min_length", 21, r"in \[0, 20\]"),
        (Sampling, "samples", 0, "of at least 1"),
        (Sampling, "temperature", 0.0, r"in \[0.01, 100\]"),
        (Sampling, "temperature", nan, r"in \[0.01, 100\]"),
        (Sampling, "top_k", -1, "of at least 0"),
        (Sampling, "top_p", 0.0, r"in \(0, 1\]"),
        (Sampling, "top_p", 1.1, r"in \(0, 1\]"),
        (Sampling, "max_length", 0, "of at least 1"),
        (BeamSearch, "beams", 0, "of at least 1"),
        (BeamSearch, "length_penalty", inf, r"in \[-10, 10\]"),
        (BeamSearch, "no_repeat_ngram", -1, "of at least 0"),
        (BeamSearch, "max_length", 0, "of at least 1"),
        (BeamSearch, "min_length", -1, r"in \[0, 20\]"),
    ],
)
def test_options_out_of_range_are_refused(strategy, option, value, allowed):
    with pytest.raises(InputError, match=f"^{strategy.__name__} .*{option}={value},.*{allowed}"):
        strategy(**{option: value})


@pytest.mark.parametrize("strategy", [Sampling(samples=3, max_length=4), Greedy(max_length=4)])
def test_a_model_that_has_diverged_writes_words_of_the_vocabulary(strategy):
    decoded = decode(strategy, [torch.full((2, 11, 11), nan)] * 2)
    assert (decoded.tokens < 11).all()
