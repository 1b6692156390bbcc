"""Linear layers give what torch's own give, whichever library multiplies."""

import pytest
import tiny
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from vlm.decoding import BeamSearch
from vlm.models import Captioner, RegionEncoder, TextDecoder
from vlm.models import linear as module
from vlm.models.linear import FEWEST_PRODUCTS, HAS_ONEDNN, ROWS, Linear, linear
from vlm.regions import RegionFeatures
from vlm.training.objectives import CrossEntropy

needs_onednn = pytest.mark.skipif(not HAS_ONEDNN, reason="this CPU has no use for oneDNN")
WIDE, NARROW = 256, 160  # 64 rows are enough products


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, ...]]:
    """Shapes of the rows that oneDNN was given."""
    seen, apply = [], module._OneDnnLinear.apply

    def watched(rows, *others):
        seen.append(tuple(rows.shape))
        return apply(rows, *others)

    monkeypatch.setattr(module._OneDnnLinear, "apply", watched)
    return seen


def weights(bias: bool = True) -> list[Tensor]:
    made = [tiny.random(NARROW, WIDE, seed=1), tiny.random(NARROW, seed=2)]
    return [part.requires_grad_() for part in made[: 1 + bias]]


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "rows",
    [
        tiny.random(64, WIDE),
        tiny.random(4, 32, WIDE),
        tiny.random(2, 3, 32, WIDE).transpose(1, 2),
        tiny.random(WIDE, 64).T,
        tiny.random(64, 1, WIDE).expand(-1, 2, -1),
        tiny.random(5, 13, WIDE),
        tiny.random(WIDE).expand(67, -1),
    ],
    ids=["rows", "batch", "turned", "columns", "repeated", "odd", "one row"],
)
def test_products_and_gradients_are_those_of_torch(rows, bias, calls):
    rows = rows.detach().requires_grad_()
    given = [rows, *weights(bias)]
    found, expected = linear(*given), functional.linear(*given)
    assert [shape[1] for shape in calls] == [WIDE]
    assert calls[0][0] >= found[..., 0].numel()
    assert_close(found, expected, atol=1e-4, rtol=1e-5)
    slope = tiny.random(*found.shape, seed=3)
    assert_close(
        torch.autograd.grad(found, given, slope),
        torch.autograd.grad(expected, given, slope),
        atol=2e-4,
        rtol=1e-5,
    )
    assert len(calls) == 3
    several = tiny.random(2, *found.shape, seed=4)
    assert_close(
        torch.autograd.grad(linear(*given), given, several, is_grads_batched=True),
        torch.autograd.grad(functional.linear(*given), given, several, is_grads_batched=True),
        atol=2e-4,
        rtol=1e-5,
    )


@needs_onednn
@pytest.mark.parametrize("bias", [tiny.random(2 * NARROW)[::2], tiny.random(1).expand(NARROW)])
def test_a_bias_may_lie_in_memory_as_it_likes(bias):
    rows, (weight,) = tiny.random(64, WIDE), weights(bias=False)
    assert_close(linear(rows, weight, bias), functional.linear(rows, weight, bias))


@needs_onednn
def test_numbers_of_rows_that_differ_little_are_one_to_onednn(calls):
    weight, bias = weights()
    for count in range(ROWS + 1, 2 * ROWS + 1):
        linear(tiny.random(2, count, WIDE), weight, bias)
    assert {shape[0] for shape in calls} == {3 * ROWS, 4 * ROWS}


@needs_onednn
def test_what_does_not_fit_is_told_by_torch():
    with pytest.raises(RuntimeError, match="64x255 and 256x160"):
        linear(tiny.random(64, WIDE - 1), tiny.random(NARROW, WIDE))


def test_a_processor_that_has_use_for_onednn_gets_it():
    useful = torch.backends.cpu.get_cpu_capability() == "AVX512"
    assert (useful and torch.backends.mkldnn.is_available()) == HAS_ONEDNN


@needs_onednn
def test_nothing_is_kept_that_no_gradient_needs():
    rows, (weight, bias) = tiny.random(64, WIDE), weights()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor), lambda _: _):
        linear(rows, weight.detach(), bias)
        assert not kept
        linear(rows.requires_grad_(), weight.detach(), bias)
        assert [tuple(tensor.shape) for tensor in kept] == [(NARROW, WIDE)]


@needs_onednn
def test_a_gradient_can_be_differentiated_again():
    given = [tiny.random(64, WIDE).requires_grad_(), *weights()]

    def penalty(product) -> Tensor:
        slopes = torch.autograd.grad(product(*given).square().sum(), given, create_graph=True)
        return sum((slope.square().mean() for slope in slopes), torch.zeros(()))

    found, expected = (
        torch.autograd.grad(penalty(product), given) for product in (linear, functional.linear)
    )
    assert_close(found, expected, rtol=1e-4, atol=1e-2)


@needs_onednn
def test_only_gradients_that_are_asked_for_are_made(calls):
    rows, (weight, bias) = tiny.random(64, WIDE), weights()
    weight.requires_grad_(False)
    linear(rows, weight, bias).sum().backward()
    assert len(calls) == 1
    assert_close(bias.grad, torch.full((NARROW,), 64.0))


@needs_onednn
def test_torch_multiplies_where_onednn_does_not_pay_or_must_not(calls, monkeypatch):
    weight, bias = weights()
    few = FEWEST_PRODUCTS // (WIDE * NARROW)
    linear(tiny.random(few, WIDE), weight, bias)
    linear(tiny.random(64, WIDE).double(), weight.double(), bias.double())
    linear(tiny.random(0, WIDE), weight, bias)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(tiny.random(64, WIDE), weight, bias).dtype == torch.bfloat16
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "enabled", False)
        linear(tiny.random(64, WIDE), weight, bias)
    assert not calls
    linear(tiny.random(few + 1, WIDE), weight, bias)
    assert len(calls) == 1


@needs_onednn
def test_a_captioner_learns_and_writes_the_same(calls, monkeypatch):
    torch.manual_seed(0)
    width, vocabulary = 128, 401
    captioner = Captioner(
        RegionEncoder(192, width=width, layers=1, dropout=0.0),
        TextDecoder(vocabulary, width=width, layers=2, heads=4, dropout=0.0),
    )
    regions = RegionFeatures(
        tiny.random(8, 49, 192), torch.rand(8, 49, 4), torch.ones(8, 49, dtype=torch.bool)
    )
    tokens = torch.randint(3, vocabulary, (8, 5, 12))

    def whole() -> tuple[Tensor, dict[str, Tensor], Tensor]:
        captioner.zero_grad()
        objective, memory = CrossEntropy(), captioner.encode(regions)
        loss = objective.of_tokens(captioner, memory, tokens, ignored=(tiny.SPECIAL.pad, 3))
        loss.backward()
        slopes = {name: weight.grad for name, weight in captioner.named_parameters()}
        with torch.inference_mode():
            written = BeamSearch(4, max_length=9).decode(
                captioner.start(captioner.encode(regions)),
                batch=8,
                special=tiny.SPECIAL,
                device=torch.device("cpu"),
            )
        return loss.detach(), slopes, written.tokens

    found, by_onednn = whole(), len(calls)
    assert by_onednn > 50
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    expected = whole()
    assert len(calls) == by_onednn
    assert_close(found[:2], expected[:2], rtol=1e-5, atol=1e-6)
    assert torch.equal(found[2], expected[2])


def test_a_layer_is_that_of_torch_with_the_same_weights_and_random_numbers():
    torch.manual_seed(0)
    ours = Linear(WIDE, NARROW)
    torch.manual_seed(0)
    theirs = nn.Linear(WIDE, NARROW)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)
    rows = tiny.random(64, WIDE)
    assert_close(ours(rows), theirs(rows), atol=1e-5, rtol=1e-5)
    assert torch.equal(ours(rows), ours(rows))
