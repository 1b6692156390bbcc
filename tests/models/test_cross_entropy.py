"""The loss whose logits never exist all at once is the plain one."""

import pytest
import tiny
import torch
from tiny import V
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from vlm.models import cross_entropy
from vlm.models.cross_entropy import linear_cross_entropy

T, D = 77, 7


def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    hidden, words = tiny.random(T, D).double(), tiny.random(V, D, seed=1).double()
    targets = torch.randint(V, (T,), generator=torch.Generator().manual_seed(2))
    weights = tiny.random(T, seed=3).double()  # of both signs, as advantages are
    return hidden.requires_grad_(), words.requires_grad_(), targets, weights


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("at_once", [V - 1, 10**6])  # 32 tokens at a time, all
def test_loss_and_gradients_are_those_of_whole_logits(smoothing, at_once, monkeypatch):
    monkeypatch.setattr(cross_entropy, "LOGITS_AT_ONCE", at_once)
    hidden, words, targets, weights = given()
    found = linear_cross_entropy(hidden, words, targets, weights, label_smoothing=smoothing)
    costs = functional.cross_entropy(
        hidden @ words.T, targets, label_smoothing=smoothing, reduction="none"
    )
    expected = (weights * costs).sum()
    assert_close(found, expected)
    assert_close(
        torch.autograd.grad(3 * found, (hidden, words)),
        torch.autograd.grad(3 * expected, (hidden, words)),
    )


def test_impossible_words_are_as_if_they_were_not_there():
    hidden, words, targets, weights = given()
    impossible = [0, 5]
    there = torch.tensor([word for word in range(V) if word not in impossible])
    targets = torch.arange(T) % len(there)
    found = linear_cross_entropy(hidden, words, there[targets], weights, impossible=impossible)
    expected = linear_cross_entropy(hidden, words[there], targets, weights)
    assert_close(found, expected)
    assert_close(
        torch.autograd.grad(found, (hidden, words)),
        torch.autograd.grad(expected, (hidden, words)),
    )
    with pytest.raises(ValueError, match="give one of them"):
        linear_cross_entropy(
            hidden, words, targets, weights, label_smoothing=0.1, impossible=impossible
        )


def test_without_gradients_there_is_the_loss_alone():
    hidden, words, targets, weights = given()
    expected = linear_cross_entropy(hidden, words, targets, weights)
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(hidden, words, targets, weights), expected)


def test_no_token_costs_nothing():
    hidden, words, targets, weights = (part[:0] for part in given())
    words = given()[1]
    loss = linear_cross_entropy(hidden, words, targets, weights)
    assert loss.item() == 0
    (slope,) = torch.autograd.grad(loss, words)
    assert not slope.any()


def test_half_precision_loses_no_gradient_that_is_scaled_later():
    """Of so many words and tokens that a gradient in 16 bits would fall below their range."""
    hidden, words = tiny.random(64, D), tiny.random(5000, D, seed=1)
    hidden, words = hidden.requires_grad_(), words.requires_grad_()
    targets, weights = torch.arange(64), torch.full((64,), 1e-6)
    exact = torch.autograd.grad(linear_cross_entropy(hidden, words, targets, weights), hidden)
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(hidden, words, targets, weights)
    found = torch.autograd.grad(loss, hidden)
    assert_close(found, exact, rtol=0.02, atol=1e-3 * float(exact[0].abs().max()))
