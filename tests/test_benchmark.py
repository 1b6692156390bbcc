"""scripts/benchmark.py: every row at tiny sizes, and what its figures rest on."""

import re
import sys
from itertools import groupby
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("transformers", reason="pip install -e '.[bench]'")
pytest.importorskip("pycocoevalcap", reason="pip install -e '.[bench]'")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

import benchmark
from routes.floor import matrix_products, run
from routes.memory import kept
from routes.rounds import OURS, Row, Task, memory_of, times
from routes.sizes import PAD, Sizes, captions_of
from routes.training import learning

from vlm.models.linear import linear

CPU = torch.device("cpu")
SIZES = {"batch": 2, "texts": 3, "width": 24, "heads": 3, "layers": 2, "vocabulary": 53}
TINY = [f"--{name}={size}" for name, size in SIZES.items()] + ["--rounds=1"]
HUGGING_FACE, STOCK = "Hugging Face", "nn.TransformerDecoder"
TRAINED = {OURS, HUGGING_FACE, STOCK, "GEMM floor", "GEMM floor, torch's choice"}
EXPECTED = {
    "training step, 4 regions": TRAINED,
    "training step, 7 regions": TRAINED,
    "beam search, 7 regions": {OURS, HUGGING_FACE},
    "greedy search, 7 regions": {OURS, HUGGING_FACE},
    "self-critical step, 7 regions": {OURS, HUGGING_FACE},
    "CIDEr-D reward": {OURS, "pycocoevalcap"},
    "VQA step, 7 regions": {OURS, HUGGING_FACE},
    "vocabulary of 10,000": {OURS, "logits of all words", "logits of all places"},
    "vocabulary of 50,000": {OURS, "logits of all words", "logits of all places"},
    **{f"images, captions each: {n}": {OURS, HUGGING_FACE, STOCK} for n in (1, 5, 10)},
    **{f"images, beams each: {n}": {OURS, HUGGING_FACE} for n in (1, 5, 10)},
}


@pytest.mark.slow
def test_every_row_runs_and_shows_its_routes(capsys: pytest.CaptureFixture[str]):
    benchmark.main([*TINY, "--regions", "4", "7"])
    table = capsys.readouterr().out.split("\n\n", 1)[1]
    found: dict[str, set[str]] = {}
    for line in table.splitlines():
        name, route, measure = re.split(r"\s{2,}", line)[:3]
        found.setdefault(name, set()).add(route)
        unit = r"\d ms|\d MB" if route == OURS else r"\dx"
        assert re.search(unit, measure), line
    assert found == EXPECTED


@pytest.mark.slow
def test_growth_has_a_column_a_size(capsys: pytest.CaptureFixture[str]):
    benchmark.main([*TINY, "--regions", "4", "--growth", "layers", "beams"])
    *tables, last = capsys.readouterr().out.split("\n\n")[-3:]
    assert [table.split("   ")[0].strip() for table in (*tables, last)] == [
        "training step by layers",
        "beam search by layers",
        "beam search by beams",
    ]
    assert last.splitlines()[0].split()[-4:] == ["1", "3", "5", "10"]
    assert all(len(line.split()[-4:]) == 4 for line in last.splitlines())
    assert len(last.splitlines()) == 5


def test_a_row_is_ours_and_how_many_times_it_the_others_are():
    row = Row("name", "ms", {OURS: [2.0, 4.0, 5.0], "other": [3.0, 4.0, 10.0]}, "note")
    assert [line.split() for line in row.lines()] == [
        ["name", "ours", "4.0", "ms", "note"],
        ["name", "other", "1.50x", "[1.00..2.00]"],
    ]


def test_rounds_are_interleaved_and_the_first_does_not_count():
    calls: list[str] = []
    routes = {name: lambda name=name: calls.append(name) for name in (OURS, "other")}
    row = times("name", Task(routes, ""), rounds=2, device=CPU)
    assert [name for name, _ in groupby(calls)] == [OURS, "other"] * 3  # short ones are repeated
    assert [len(measures) for measures in row.measures.values()] == [2, 2]


def test_memory_is_the_peak_and_what_is_kept():
    before = torch.ones(1000)

    def act() -> torch.Tensor:
        first = torch.ones(250_000) + before.sum()
        del first
        second = torch.ones(500_000)
        return second[:250_000].clone()

    found = memory_of(act, CPU)
    assert found.peak == pytest.approx(3.0, abs=1e-3)  # the second and its half, of 4 bytes each
    assert found.held == pytest.approx(1.0, abs=1e-3)


def test_the_floor_is_what_one_caption_of_one_image_costs_everybody():
    sizes = Sizes(images=1, texts=1, regions=5, width=24, heads=3, layers=2, vocabulary=53)
    real = captions_of(sizes).real[..., 1:]
    products = matrix_products(sizes, real)
    with FlopCounterMode(display=False) as counter:
        run(products, CPU, linear)()
    operations = sum(product.operations for product in products)
    assert counter.get_total_flops() == operations
    # Scores and averages, three passes each, an addition and a multiplication.
    tokens = int(real.sum())
    attention = 2 * 2 * 3 * 2 * tokens * 24 * (tokens + 5)
    assert sum(product.operations for product in products if product.batch > 1) == attention
    routes = learning(sizes)
    for name in (HUGGING_FACE, STOCK):  # fused attention on a CPU is not counted
        with FlopCounterMode(display=False) as counter:
            routes[name].loss().backward()
        assert counter.get_total_flops() == operations - attention, name


def test_captions_are_padded_behind_their_end():
    captions = captions_of(Sizes(images=3, vocabulary=11))
    assert torch.equal(captions.real, captions.tokens != PAD)
    lengths = captions.real.sum(dim=-1)
    assert len(lengths.unique()) > 1
    last = captions.tokens.gather(-1, lengths.unsqueeze(-1) - 1)
    assert (last == 2).all()
    assert (captions.tokens == 2).sum() == lengths.numel()


def test_what_we_keep_of_an_image_does_not_depend_on_its_captions():
    sizes = Sizes(images=2, width=24, heads=3, layers=2, vocabulary=53)
    one, many = (
        {
            name: large - small
            for (name, large), small in zip(
                kept(sizes._replace(texts=texts, regions=50)).items(),
                kept(sizes._replace(texts=texts, regions=1)).values(),
                strict=True,
            )
        }
        for texts in (1, 7)
    )
    assert many[OURS] == pytest.approx(one[OURS], rel=1e-3)
    # Six captions more of 2 images: 49 regions of width 24 in 4 bytes, as a memory repeated and as
    # keys and values of two layers.
    more = 6 * 2 * 49 * 24 * 4 * (1 + 2 * 2) / 1e6
    assert many[HUGGING_FACE] - one[HUGGING_FACE] == pytest.approx(more, rel=1e-3)
