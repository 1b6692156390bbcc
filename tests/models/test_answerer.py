"""Questions are read in both directions, padding and neighbours change nothing."""

import pytest
import tiny
import torch
from tiny import HEADS, REGION_WIDTH, WIDTH, B, C, L
from torch import Tensor
from torch.testing import assert_close

from vlm.errors import InputError
from vlm.models.answerer import AttentionPool, QuestionAnswerer, soft_answer_loss
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import RegionEncoder

ANSWERS = 19


@pytest.fixture(scope="module")
def answerer() -> QuestionAnswerer:
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH, heads=HEADS, layers=1)
    decoder = tiny.decoder()
    return tiny.enliven(QuestionAnswerer(encoder, decoder, ANSWERS), seed=3)


def asked() -> tuple[Tensor, Tensor]:
    """Questions of three lengths, one of them absent."""
    tokens = tiny.tokens(B, C, L)
    lengths = torch.tensor([[5, 3, 4], [2, 5, 0]])
    return tokens, torch.arange(L) < lengths.unsqueeze(-1)


def test_scores_of_all_answers(answerer):
    tokens, real = asked()
    scores = answerer(tiny.regions(), tokens, real)
    assert scores.shape == (B, C, ANSWERS)
    assert scores.isfinite().all()


def test_what_stands_in_the_padding_changes_nothing(answerer):
    tokens, real = asked()
    noise = tiny.tokens(B, C, L, seed=9)
    padded = torch.where(real, tokens, noise)
    plain, noisy = answerer(tiny.regions(), tokens, real), answerer(tiny.regions(), padded, real)
    there = real.any(dim=-1)
    assert_close(plain[there], noisy[there])


def test_questions_of_an_image_do_not_hear_each_other(answerer):
    tokens, real = asked()
    together = answerer(tiny.regions(), tokens, real)
    for place in range(C):
        alone = answerer(tiny.regions(), tokens[:, [place]], real[:, [place]])
        there = real[:, place].any(dim=-1)
        assert_close(alone[there, 0], together[there, place])


def test_the_first_word_hears_the_last(answerer):
    tokens, real = asked()
    changed = tokens.clone()
    changed[0, 0, 4] = (tokens[0, 0, 4] + 1) % tiny.V
    memory = answerer.encode(tiny.regions())
    both = [answerer.decoder.read(t, memory, real=real)[0, 0, 0] for t in (tokens, changed)]
    forward = [answerer.decoder(t, memory, real=real)[0, 0, 0] for t in (tokens, changed)]
    assert not torch.allclose(*both)
    assert_close(*forward)


def test_a_question_of_one_direction_is_the_other_at_its_end(answerer):
    """With a single layer the last word alone has seen the same in either way of reading."""
    decoder = tiny.enliven(TextDecoder(tiny.V, width=WIDTH, layers=1, heads=HEADS, max_length=13))
    tokens, real = tiny.tokens(B, C, L), torch.ones(B, C, L, dtype=torch.bool)
    memory = tiny.memory()
    read, forward = decoder.read(tokens, memory, real=real), decoder(tokens, memory)
    assert_close(read[:, :, -1], forward[:, :, -1])
    assert not torch.allclose(read[:, :, 0], forward[:, :, 0])


def test_the_pool_is_a_mean_where_all_words_weigh_the_same():
    pool = AttentionPool(WIDTH)
    torch.nn.init.zeros_(pool.score.weight)
    text = tiny.random(B, C, L, WIDTH)
    _, real = asked()
    found = pool(text, real)
    assert_close(found[0, 1], text[0, 1, :3].mean(dim=0))
    assert not found[1, 2].any(), "no question, no vector"


def test_the_loss_by_hand():
    logits = torch.tensor([[[0.0, 2.0], [5.0, 5.0]]])
    targets = torch.tensor([[[0.3, 1.0], [0.0, 0.0]]])
    there = torch.tensor([[True, False]])
    # -log(1/2) whatever the target at a score of 0; -log(sigmoid(2)) for the right answer.
    expected = torch.tensor(0.6931472 + 0.1269280)
    assert_close(soft_answer_loss(logits, targets, there), expected)
    assert soft_answer_loss(logits, targets, torch.zeros_like(there)) == 0


def test_other_widths_are_refused():
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH + 1, heads=2)
    with pytest.raises(InputError, match=r"one width, got encoder.width=16, decoder.width=15"):
        QuestionAnswerer(encoder, tiny.decoder(), ANSWERS)
