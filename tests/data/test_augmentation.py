"""RandAugment as a pure function of its seed, which mirrors nothing."""

import pytest
import torch
from torchvision.transforms import v2

from vlm.data.augmentation import RandAugment, seed_of
from vlm.errors import InputError

IMAGE = torch.arange(3 * 29 * 31, dtype=torch.int64).remainder(251).to(torch.uint8).view(3, 29, 31)


def test_the_same_seed_gives_the_same_change():
    augmentation = RandAugment()
    torch.manual_seed(1)
    first = [augmentation(IMAGE, seed=seed) for seed in range(20)]
    torch.manual_seed(2)
    again = [augmentation(IMAGE, seed=seed) for seed in range(20)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(image.flatten().tolist()) for image in first}) > 10
    assert {(image.shape, image.dtype) for image in first} == {(IMAGE.shape, torch.uint8)}


def test_the_image_given_is_not_changed():
    before = IMAGE.clone()
    for seed in range(20):
        RandAugment(operations=3, magnitude=30)(IMAGE, seed=seed)
    assert torch.equal(IMAGE, before)


def test_the_global_generator_is_left_alone(monkeypatch):
    def refuse(seed: int) -> None:
        raise AssertionError("torch.manual_seed would seed every accelerator as well")

    before = torch.get_rng_state()
    monkeypatch.setattr(torch, "manual_seed", refuse)
    RandAugment()(IMAGE, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_ever_mirrored():
    """Left stays left of right: captions say so."""
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0, 8:24, 4:16] = 200
    image[2, 8:24, 16:28] = 200
    column = torch.arange(32.0)
    for seed in range(200):
        red, _, blue = RandAugment(operations=1, magnitude=9)(image, seed=seed).float()
        red, blue = red - red.min(), blue - blue.min()
        if red.sum() and blue.sum():
            centres = [(band.sum(0) * column).sum() / band.sum() for band in (red, blue)]
            swapped = red[:, :16].mean() < red[:, 16:].mean()  # solarised: dark where it was light
            assert (centres[0] < centres[1]) != swapped
    assert not [name for name in v2.RandAugment._AUGMENTATION_SPACE if "lip" in name]


def test_no_operation_changes_nothing():
    assert torch.equal(RandAugment(operations=0)(IMAGE, seed=5), IMAGE)


@pytest.mark.parametrize("options", [{"operations": -1}, {"magnitude": -1}, {"magnitude": 31}])
def test_options_out_of_range_are_told(options):
    name, value = next(iter(options.items()))
    with pytest.raises(InputError, match=f"{name}={value}.* is out of range; give operations of 0"):
        RandAugment(**options)


def test_seeds_of_different_parts_differ():
    parts = [(), (0,), (0, 0), (1, 0), (0, 1), (0, 0, 1), (0, 1, 0), (11, 1), (1, 11), (-1,)]
    seeds = [seed_of(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(3, 5, 7) == seed_of(3, 5, 7)
