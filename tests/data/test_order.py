"""The order of samples: pure, shared out without overlap, resumable in mid-epoch."""

from collections.abc import Sequence
from pathlib import Path

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import Dataset

from vlm.data.order import Draw, FixedOrder, ResumableLoader, ShuffledOrder

SAMPLES, BATCH = 23, 5


class Draws(Dataset):
    """Hands back what it was asked for."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, draw: Draw) -> Draw:
        return draw


def loader(workers: int = 0, seed: int = 3) -> ResumableLoader:
    return ResumableLoader(
        Draws(),
        batch_size=BATCH,
        sampler=ShuffledOrder(SAMPLES, seed=seed),
        num_workers=workers,
        collate_fn=list,
        persistent_workers=workers > 0,
    )


def epoch(of: ResumableLoader, number: int) -> list[list[Draw]]:
    of.sampler.set_epoch(number)
    return list(of)


def order(seed: int, number: int, process: int = 0, processes: int = 1) -> list[int]:
    shuffled = ShuffledOrder(SAMPLES, seed=seed, process=process, processes=processes)
    shuffled.set_epoch(number)
    draws = list(shuffled)
    assert {draw.epoch for draw in draws} == {number}
    assert len(shuffled) == len(draws)
    return [draw.sample for draw in draws]


def test_the_shuffled_order_is_a_pure_function_of_seed_and_epoch():
    first = order(3, 1)
    torch.manual_seed(99)
    torch.rand(7)
    assert order(3, 1) == first
    assert sorted(first) == list(range(SAMPLES))
    others = [order(3, 0), order(3, 2), order(4, 1), list(range(SAMPLES))]
    assert first not in others


def test_shuffling_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    order(3, 1)
    assert torch.equal(torch.get_rng_state(), before)


@given(st.integers(1, SAMPLES), st.integers(0, 5))
def test_processes_get_equal_disjoint_shares_of_one_order(processes, number):
    shares = [order(3, number, process, processes) for process in range(processes)]
    drawn = [sample for share in shares for sample in share]
    assert {len(share) for share in shares} == {SAMPLES // processes}
    assert len(set(drawn)) == len(drawn) == SAMPLES - SAMPLES % processes
    assert set(drawn) == set(order(3, number)[: len(drawn)])


def test_what_rests_in_one_epoch_is_drawn_in_others():
    drawn = {sample for number in range(9) for p in range(2) for sample in order(3, number, p, 2)}
    assert drawn == set(range(SAMPLES))


@given(st.integers(0, 40), st.integers(1, 7))
def test_the_fixed_order_covers_each_sample_once_over_processes(samples, processes):
    orders = [FixedOrder(samples, process=p, processes=processes) for p in range(processes)]
    assert sorted(draw.sample for one in orders for draw in one) == list(range(samples))
    assert all(list(one) == sorted(one) for one in orders)
    assert [len(one) for one in orders] == [len(list(one)) for one in orders]


# --- resuming --------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("served", [0, 2, 4])
def test_a_resumed_loader_goes_on_where_it_stopped(workers, served):
    whole = loader()
    expected = [epoch(whole, 6), epoch(whole, 7)]
    assert [len(batch) for batch in expected[0]] == [5, 5, 5, 5, 3]

    stopped = loader(workers)
    stopped.sampler.set_epoch(6)
    batches = iter(stopped)
    assert [next(batches) for _ in range(served)] == expected[0][:served]
    state = stopped.state_dict()
    del batches
    assert state == {"epoch": 6, "batches": served}

    resumed = loader(workers)
    resumed.load_state_dict(state)
    assert epoch(resumed, 6) == expected[0][served:]
    assert resumed.state_dict() == {"epoch": 6, "batches": 5}
    assert epoch(resumed, 7) == expected[1]


def test_the_state_of_another_epoch_skips_nothing():
    resumed = loader()
    resumed.load_state_dict({"epoch": 6, "batches": 5})
    assert epoch(resumed, 7) == epoch(loader(), 7)


def test_a_broken_off_epoch_starts_again_from_its_beginning():
    of = loader()
    of.sampler.set_epoch(2)
    for batches, _ in enumerate(of):
        if batches == 2:
            break
    assert epoch(of, 2) == epoch(loader(), 2)


class Diary(L.LightningModule):
    """Learns nothing and notes which samples each step was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.notes: list[tuple[int, list[int]]] = []

    def training_step(self, batch: Sequence[Draw], index: int) -> torch.Tensor:
        self.notes.append((self.current_epoch, [draw.sample for draw in batch]))
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def notes(folder: Path, checkpoint: Path | None = None) -> list[tuple[int, list[int]]]:
    """Epoch and samples of each of 13 steps, or of those after a checkpoint."""
    diary = Diary()
    trainer = L.Trainer(
        max_steps=13,
        accelerator="cpu",
        logger=False,
        callbacks=ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(diary, loader(), ckpt_path=checkpoint)
    return diary.notes


def test_a_resumed_training_sees_the_batches_it_had_not_seen(tmp_path):
    whole = notes(tmp_path)
    assert [number for number, _ in whole] == [0] * 5 + [1] * 5 + [2] * 3
    for step in (3, 5, 7):
        assert notes(tmp_path, tmp_path / f"step={step}.ckpt") == whole[step:]
