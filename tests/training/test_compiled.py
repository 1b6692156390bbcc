"""Compiled trains as before, with graphs that serve batches of all sizes."""

import copy
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from vlm.models import linear
from vlm.models.captioner import Captioner
from vlm.regions import RegionFeatures
from vlm.training import CaptioningModule, Compiled
from vlm.training.objectives import CrossEntropy

SIZES = [(4, 20, 12), (3, 20, 9), (5, 15, 14), (2, 20, 14), (6, 9, 5)]  # images, regions, tokens


def batch(images: int, regions: int, length: int, width: int) -> tuple[RegionFeatures, Tensor]:
    """Regions, and three captions each of two tokens or more, padded by token 1."""
    chance = torch.Generator().manual_seed(length * images)
    tokens = torch.randint(4, 17, (images, 3, length), generator=chance)
    lengths = torch.randint(2, length, (images, 3, 1), generator=chance)
    lengths[0, 0] = length  # what is longest is as long as it may be
    return (
        RegionFeatures(
            torch.randn(images, regions, width, generator=chance),
            torch.rand(images, regions, 4, generator=chance),
            torch.ones(images, regions, dtype=torch.bool),
        ),
        tokens.masked_fill(torch.arange(length) >= lengths, 1),
    )


def learned(captioner: Captioner, regions: RegionFeatures, tokens: Tensor) -> list[Tensor]:
    """The loss and all gradients."""
    captioner.zero_grad()
    memory = captioner.encode(regions)
    loss = CrossEntropy().of_tokens(captioner, memory, tokens, ignored=(1, 3))
    loss.backward()
    slopes = [weight.grad for weight in captioner.parameters()]
    return [loss.detach(), *(slope for slope in slopes if slope is not None)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # that torch itself reads
def test_losses_and_gradients_are_the_same_and_no_batch_is_compiled_for(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(linear, "FEWEST_PRODUCTS", 2**15)  # that some sizes have and some lack
    module = CaptioningModule.load(tiny_checkpoint).eval()  # no dropout
    plain = cast("Captioner", copy.deepcopy(module.network))
    Compiled(backend="aot_eager").on_fit_start(cast("nn.Module", None), module)
    compiled = cast("Captioner", module.network)
    width = module.backbone.width
    for index, sizes in enumerate(SIZES):
        given = batch(*sizes, width)
        with torch.compiler.set_stance("default" if index < 2 else "fail_on_recompile"):
            assert_close(learned(compiled, *given), learned(plain, *given), atol=1e-5, rtol=1e-4)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    copy.deepcopy(module)  # as a moving average does
