"""A training step of visual question answering: some questions an image.

The features are projected with their boxes, the questions read, pooled and classified over 3,129
answers, the loss a binary cross-entropy with soft targets. GPT-2 stands in for the decoder, with
copies of everything around it; it is given the mask of both directions, in which ours reads, so
that the two compute one loss.
"""

import copy

import torch
from huggingface import gpt2_of, gpt2_reading
from torch import Tensor

from routes.rounds import OURS, Task
from routes.sizes import ANSWERS, Sizes, captioner_of, questions_of, regions_of, seeded
from routes.training import Learning
from vlm.models.answer_heads import AnswerClassifier, soft_answer_loss
from vlm.models.answerer import QuestionAnswerer


def answering(sizes: Sizes) -> Task:
    """Ours, and GPT-2 in the place of our decoder."""
    regions, (questions, real) = regions_of(sizes), questions_of(sizes)
    targets = _targets(sizes)
    head = AnswerClassifier(sizes.width, torch.zeros(ANSWERS, 2), dropout=0.0)  # counts them
    captioner = captioner_of(sizes)
    answerer = QuestionAnswerer(captioner.encoder, captioner.decoder, head).to(sizes.device)
    gpt2 = gpt2_of(answerer.decoder).to(sizes.device)
    encoder, choose = copy.deepcopy(answerer.encoder), copy.deepcopy(head)

    def ours() -> Tensor:
        return answerer.loss(answerer.encode(regions), questions, real, targets)

    def theirs() -> Tensor:
        hidden = gpt2_reading(gpt2, questions, encoder(regions), real=real)
        scores = choose.classify(choose.pool(hidden, real))
        return soft_answer_loss(scores, targets, real.any(dim=-1))

    loss = ours()
    torch.testing.assert_close(loss, theirs(), rtol=1e-5, atol=0)
    routes = {
        OURS: Learning(ours, (answerer,)).step(),
        "Hugging Face": Learning(theirs, (encoder, gpt2, choose)).step(),
    }
    return Task(routes, f"loss {loss:.2f}, as Hugging Face's")


def _targets(sizes: Sizes) -> Tensor:
    """How right every answer is, ``(B, C, A)``.

    Three answers of each question are right, by 0.3, 0.6 and 1: as if one, two and four or more
    of ten people had given them.
    """
    targets = torch.zeros(sizes.images, sizes.texts, ANSWERS)
    shape = (sizes.images, sizes.texts, 3)
    right = torch.randint(ANSWERS, shape, generator=seeded())
    targets.scatter_(2, right, torch.tensor([0.3, 0.6, 1.0]).expand(shape))
    return targets.to(sizes.device)
