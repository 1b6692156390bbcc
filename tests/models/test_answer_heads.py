"""Answers that are chosen, and answers whose log-probability the decoder gives."""

import pytest
import tiny
import torch
from tiny import HEADS, REGION_WIDTH, SPECIAL, WIDTH, B, C, L, V
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from vlm.decoding import BeamSearch
from vlm.models import answer_heads
from vlm.models.answer_heads import (
    AnswerClassifier,
    AnswerWriter,
    AttentionPool,
    exclusive_answer_loss,
    soft_answer_loss,
)
from vlm.models.answerer import QuestionAnswerer
from vlm.models.decoder import Prefix
from vlm.models.encoder import Memory, RegionEncoder
from vlm.models.writing import WritingState

ANSWERS = len(tiny.answers())
UNWRITABLE = 3


def right_answers() -> Tensor:
    """How right each answer is: one alone, several, and none for one question and an absent one."""
    targets = torch.zeros(B, C, ANSWERS)
    targets[0, 0, 5] = 1
    targets[0, 1, [0, 7, 18]] = torch.tensor([0.3, 1.0, 0.6])
    targets[1, 0, [2, 4]] = torch.tensor([0.9, 0.3])
    targets[1, 1, 11] = 0.3
    return targets  # nothing is right of questions [0, 2] and, not there, [1, 2]


def test_a_written_answer_scores_its_words_one_after_another():
    decoder, memory = tiny.decoder(text_layers=1), tiny.memory()
    (tokens, real), answers = tiny.asked(), tiny.answers()
    scores = AnswerWriter(WIDTH, answers)(decoder, memory, tokens, real)
    for image, place in real.any(dim=-1).nonzero().tolist():
        one = Memory(*(field[[image]] for field in memory))
        question = tokens[image, place][real[image, place]]
        for index, answer in enumerate(answers):
            words = answer[answer >= 0]
            if index == UNWRITABLE:
                continue
            hidden = tiny.read_on(decoder, one, question, words[:-1])
            predicted = decoder.logits(hidden).log_softmax(dim=-1)
            expected = predicted.gather(-1, words[1:].unsqueeze(-1)).sum()
            assert_close(scores[image, place, index], expected)


def test_all_texts_of_two_tokens_share_all_probability():
    decoder, memory = tiny.decoder(), tiny.memory()
    tokens, real = tiny.asked()
    first, second = torch.cartesian_prod(torch.arange(V), torch.arange(V)).unbind(dim=1)
    every = torch.stack([torch.full_like(first, SPECIAL.start), first, second], dim=1)
    scores = AnswerWriter(WIDTH, every)(decoder, memory, tokens, real)
    assert scores.shape == (B, C, V * V)
    assert_close(scores.logsumexp(dim=-1), torch.zeros(B, C), rtol=0, atol=1e-5)
    of_first = AnswerWriter(WIDTH, every[::V, :2])(decoder, memory, tokens, real)
    assert_close(scores.view(B, C, V, V).logsumexp(dim=-1), of_first)


@pytest.mark.parametrize("at_once", [1, B * C * 5 * 4, B * C * 5 * 7])
def test_how_many_are_scored_at_once_changes_nothing(monkeypatch, at_once):
    decoder, memory = tiny.decoder(), tiny.memory()
    tokens, real = tiny.asked()
    writer = AnswerWriter(WIDTH, tiny.answers())
    together = writer(decoder, memory, tokens, real)
    monkeypatch.setattr(answer_heads, "TOKENS_AT_ONCE", at_once)
    followed: list[int] = []
    follow = decoder.follow

    def counted(texts: Tensor, prefix: Prefix) -> Tensor:
        followed.append(texts.shape[2])
        return follow(texts, prefix)

    monkeypatch.setattr(decoder, "follow", counted)
    assert_close(writer(decoder, memory, tokens, real), together)
    most = max(1, at_once // (B * C * 5))
    assert max(followed) == most
    assert sum(followed) == ANSWERS


def test_answers_together_score_as_each_alone():
    decoder, memory = tiny.decoder(), tiny.memory()
    tokens, real = tiny.asked()
    together = AnswerWriter(WIDTH, tiny.answers())(decoder, memory, tokens, real)
    alone = [AnswerWriter(WIDTH, answer.unsqueeze(0)) for answer in tiny.answers()]
    scores = [writer(decoder, memory, tokens, real) for writer in alone]
    assert_close(together, torch.cat(scores, dim=-1))


def test_what_is_written_freely_scores_what_the_writer_gives_it():
    decoder, memory = tiny.decoder(text_layers=1), tiny.memory()
    tokens, real = tiny.asked()
    state = WritingState.after(decoder, decoder.begin(tokens, memory, real=real))
    search = BeamSearch(beams=3, max_length=4)
    decoded = search.decode(state, batch=B * C, special=SPECIAL, device=torch.device("cpu"))
    start = torch.full((B * C, 1), SPECIAL.start)
    for rank in range(3):
        words, length = decoded.tokens[:, rank], decoded.lengths[:, [rank]]
        written = words.masked_fill(torch.arange(words.shape[1]) >= length, -1)
        answers = torch.cat([start, written], dim=1)
        scores = AnswerWriter(WIDTH, answers)(decoder, memory, tokens, real)
        assert_close(scores.view(B * C, B * C).diagonal(), decoded.sums[:, rank])


def test_an_answer_that_cannot_be_written_is_impossible():
    decoder, memory = tiny.decoder(), tiny.memory()
    writer = AnswerWriter(WIDTH, tiny.answers())
    scores = writer(decoder, memory, *tiny.asked())
    assert (scores[..., UNWRITABLE] == -torch.inf).all()
    assert writer.notes() == ["1 answers have words that it cannot write"]
    assert scores.isfinite().sum() == B * C * (ANSWERS - 1)


def test_a_writer_has_no_weights_and_keeps_no_answers():
    assert not AnswerWriter(WIDTH, tiny.answers()).state_dict()


def test_a_writer_learns_right_answers_by_their_share():
    decoder, memory = tiny.decoder(text_layers=1).double(), tiny.memory()
    memory = memory._replace(features=memory.features.double())
    (tokens, real), targets = tiny.asked(), right_answers().double()
    writer = AnswerWriter(WIDTH, tiny.answers())
    scores = writer(decoder, memory, tokens, real).masked_fill(targets == 0, 0)
    shares = targets / targets.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    taught = 4  # of the five questions that are there, one has no right answer
    expected = -(shares * scores).sum() / taught
    loss = writer.loss(decoder, memory, tokens, real, targets)
    assert_close(loss.double(), expected, rtol=1e-6, atol=1e-6)
    parameters = list(decoder.parameters())
    assert_close(
        torch.autograd.grad(loss, parameters),
        torch.autograd.grad(expected, parameters),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_single_right_answer_is_plain_cross_entropy_whatever_its_score():
    decoder, memory = tiny.decoder(), tiny.memory()
    tokens, real = tiny.asked()
    writer = AnswerWriter(WIDTH, tiny.answers())
    expected = -writer(decoder, memory, tokens, real)[0, 1, 7]
    for score in (0.3, 1.0):
        targets = torch.zeros(B, C, ANSWERS)
        targets[0, 1, 7] = score
        assert_close(writer.loss(decoder, memory, tokens, real, targets), expected)


def test_without_any_right_answer_a_writer_learns_nothing():
    decoder, memory = tiny.decoder(), tiny.memory()
    writer = AnswerWriter(WIDTH, tiny.answers())
    loss = writer.loss(decoder, memory, *tiny.asked(), torch.zeros(B, C, ANSWERS))
    loss.backward()
    assert loss == 0
    assert all((weight.grad == 0).all() for weight in decoder.parameters())


def test_chosen_answers_are_scored_from_the_pooled_question():
    decoder, memory = tiny.decoder(), tiny.memory()
    head = tiny.enliven(AnswerClassifier(WIDTH, tiny.answers()), seed=4)
    tokens, real = tiny.asked()
    text = decoder.read(tokens, memory, real=real)
    scores = head(decoder, memory, tokens, real)
    assert scores.shape == (B, C, ANSWERS)
    pooled = head.pool(text[:1, [1], :3], torch.ones(1, 1, 3, dtype=torch.bool))
    assert_close(scores[:1, [1]], head.classify(pooled))


def test_a_classifier_learns_every_answer_of_questions_that_are_there():
    decoder, memory = tiny.decoder(), tiny.memory()
    head = tiny.enliven(AnswerClassifier(WIDTH, tiny.answers()), seed=4)
    (tokens, real), targets = tiny.asked(), right_answers()
    scores, there = head(decoder, memory, tokens, real), real.any(dim=-1)
    losses = functional.binary_cross_entropy_with_logits(
        scores[there], targets[there], reduction="none"
    )
    loss = head.loss(decoder, memory, tokens, real, targets)
    assert_close(loss, losses.sum(dim=-1).mean())
    targets[~there] = 1
    assert_close(head.loss(decoder, memory, tokens, real, targets), loss)


def test_the_loss_by_hand():
    logits = torch.tensor([[[0.0, 2.0], [5.0, 5.0]]])
    targets = torch.tensor([[[0.3, 1.0], [0.0, 0.0]]])
    there = torch.tensor([[True, False]])
    # -log(1/2) whatever the target at a score of 0; -log(sigmoid(2)) for the right answer.
    expected = torch.tensor(0.6931472 + 0.1269280)
    assert_close(soft_answer_loss(logits, targets, there), expected)
    assert soft_answer_loss(logits, targets, torch.zeros_like(there)) == 0


def test_answers_that_exclude_each_other_by_hand():
    # Odds of 1 : 3: the right one has -log(3/4), shared right 3 : 1 both -log(1/4) and -log(3/4);
    # the third question has no right answer and the last is not there.
    logits = torch.log(torch.tensor([[[1.0, 3.0], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0]]]))
    targets = torch.tensor([[[0.0, 1.0], [0.9, 0.3], [0.0, 0.0], [1.0, 0.0]]])
    there = torch.tensor([[True, True, True, False]])
    certain, shared = 0.2876821, 0.75 * 1.3862944 + 0.25 * 0.2876821
    expected = torch.tensor((certain + shared) / 2)
    assert_close(exclusive_answer_loss(logits, targets, there), expected)
    assert exclusive_answer_loss(logits, targets, torch.zeros_like(there)) == 0


def test_the_pool_is_a_mean_where_all_words_weigh_the_same():
    pool = AttentionPool(WIDTH)
    torch.nn.init.zeros_(pool.score.weight)
    text = tiny.random(B, C, L, WIDTH)
    _, real = tiny.asked()
    found = pool(text, real)
    assert_close(found[0, 1], text[0, 1, :3].mean(dim=0))
    assert not found[1, 2].any(), "no question, no vector"


def test_the_pool_by_hand():
    pool = AttentionPool(2)
    pool.score.weight.data = torch.tensor([[1.0, 0.0]])
    text = torch.tensor([[[[torch.log(torch.tensor(3.0)), 4.0], [0.0, 8.0], [9.0, 9.0]]]])
    real = torch.tensor([[[True, True, False]]])
    # Weights of 3/4 and 1/4, as their scores are log 3 and 0: 3/4 * 4 + 1/4 * 8 = 5.
    assert_close(pool(text, real)[0, 0, 1], torch.tensor(5.0))


@pytest.mark.parametrize("kind", [AnswerClassifier, AnswerWriter])
def test_gradients_reach_everything(kind):
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH, heads=HEADS, layers=1)
    head = kind(WIDTH, tiny.answers())
    model = tiny.enliven(QuestionAnswerer(encoder, tiny.decoder(text_layers=1), head), seed=3)
    regions = tiny.regions()
    kinds = torch.arange(tiny.N).remainder(2).expand(B, -1)  # of which the encoder has a weight
    memory = model.encode(regions._replace(kinds=kinds))
    model.loss(memory, *tiny.asked(), right_answers()).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert None not in gradients.values(), "distributed training wants every weight used"
    untouched = {name for name, some in gradients.items() if some is not None and not some.any()}
    # A softmax does not see what is added to all of its scores.
    assert untouched <= {"head.pool.score.bias"}
