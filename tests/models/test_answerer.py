"""Questions are read in both directions, padding and neighbours change nothing."""

import pytest
import tiny
import torch
from tiny import HEADS, REGION_WIDTH, WIDTH, B, C, L
from torch.testing import assert_close

from vlm.errors import InputError
from vlm.models.answer_heads import AnswerClassifier, AnswerHead, AnswerWriter
from vlm.models.answerer import QuestionAnswerer
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import RegionEncoder

ANSWERS = len(tiny.answers())


@pytest.fixture(scope="module", params=[AnswerClassifier, AnswerWriter])
def answerer(request: pytest.FixtureRequest) -> QuestionAnswerer:
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH, heads=HEADS, layers=1)
    head: AnswerHead = request.param(WIDTH, tiny.answers())
    return tiny.enliven(QuestionAnswerer(encoder, tiny.decoder(text_layers=1), head), seed=3)


def test_scores_of_all_answers(answerer):
    tokens, real = tiny.asked()
    memory = answerer.encode(tiny.regions())
    scores = answerer(memory, tokens, real)
    assert scores.shape == (B, C, ANSWERS)
    assert not scores.isnan().any()
    assert_close(scores, answerer.head(answerer.decoder, memory, tokens, real))


def test_the_loss_is_that_of_the_head(answerer):
    tokens, real = tiny.asked()
    memory = answerer.encode(tiny.regions())
    targets = tiny.random(B, C, ANSWERS).sigmoid() * real.any(dim=-1, keepdim=True)
    loss = answerer.loss(memory, tokens, real, targets)
    assert loss > 0
    assert_close(loss, answerer.head.loss(answerer.decoder, memory, tokens, real, targets))


def test_what_stands_in_the_padding_changes_nothing(answerer):
    tokens, real = tiny.asked()
    memory, there = answerer.encode(tiny.regions()), real.any(dim=-1)
    plain = answerer(memory, tokens, real)[there]
    noisy = torch.where(real, tokens, tiny.tokens(B, C, L, seed=9))
    assert_close(answerer(memory, noisy, real)[there], plain)
    longer = torch.cat([tokens, tiny.tokens(B, C, 3, seed=9)], dim=-1)
    padded = torch.cat([real, torch.zeros(B, C, 3, dtype=torch.bool)], dim=-1)
    assert_close(answerer(memory, longer, padded)[there], plain)


def test_questions_of_an_image_do_not_hear_each_other(answerer):
    tokens, real = tiny.asked()
    memory = answerer.encode(tiny.regions())
    together = answerer(memory, tokens, real)
    for place in range(C - 1):  # of the last place, one image has no question
        alone = answerer(memory, tokens[:, [place]], real[:, [place]])
        assert_close(alone[:, 0], together[:, place])
    first = type(memory)(*(field[:1] for field in memory))
    assert_close(answerer(first, tokens[:1, [2]], real[:1, [2]])[:, 0], together[:1, 2])


def test_sight_reaches_the_scores(answerer):
    tokens, real = tiny.asked()
    seen = [answerer(answerer.encode(tiny.regions(seed=seed)), tokens, real) for seed in (3, 4)]
    assert not torch.allclose(*(scores[real.any(dim=-1)] for scores in seen))


def test_the_first_word_hears_the_last(answerer):
    tokens, real = tiny.asked()
    changed = tokens.clone()
    changed[0, 0, 4] = (tokens[0, 0, 4] + 1) % tiny.V
    memory = answerer.encode(tiny.regions())
    both = [answerer.decoder.read(t, memory, real=real)[0, 0, 0] for t in (tokens, changed)]
    forward = [answerer.decoder(t, memory, real=real)[0, 0, 0] for t in (tokens, changed)]
    assert not torch.allclose(*both)
    assert_close(*forward)


def test_a_question_of_one_direction_is_the_other_at_its_end():
    """With a single layer the last word alone has seen the same in either way of reading."""
    decoder = tiny.enliven(TextDecoder(tiny.V, width=WIDTH, layers=1, heads=HEADS, max_length=13))
    tokens, real = tiny.tokens(B, C, L), torch.ones(B, C, L, dtype=torch.bool)
    memory = tiny.memory()
    read, forward = decoder.read(tokens, memory, real=real), decoder(tokens, memory)
    assert_close(read[:, :, -1], forward[:, :, -1])
    assert not torch.allclose(read[:, :, 0], forward[:, :, 0])


def test_other_widths_are_refused():
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH + 1, heads=2)
    head = AnswerWriter(WIDTH, tiny.answers())
    with pytest.raises(InputError, match=r"one width, got encoder.width=16, decoder.width=15"):
        QuestionAnswerer(encoder, tiny.decoder(), head)
