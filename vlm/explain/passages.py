"""Passages: one text over one image as a network reads it, and what is asked of its words."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from vlm.errors import InputError
from vlm.models.answer_heads import AnswerClassifier, AnswerWriter
from vlm.models.answerer import QuestionAnswerer
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer, Word


class Passage(NamedTuple):
    """A caption, or a question and its answer, over one image; every map of words starts here.

    ``L`` tokens make ``W`` words; ``T`` probabilities are asked for: of each word of a caption
    after those before it, or of the one answer to a question.

    Attributes:
        network: that reads it.
        regions: of the image, ``B`` being 1.
        words: of the text, the answer last.
        tokens: ``(L,)`` ids that are read.
        mask: ``(L, L)`` boolean, True where a token hears another.
        shares: ``(W, L)``, what every token has in a word's map; rows sum to 1.
        targets: of each word, which of the ``T`` log-probabilities is its own.
        chosen: of each word, whether the network chose it; a question's were given.
        score: hidden states ``(B, L, D)`` to log-probabilities ``(B, T)``.
        image: the image's file; empty where nobody said.
    """

    network: Captioner | QuestionAnswerer
    regions: RegionFeatures
    words: tuple[str, ...]
    tokens: Tensor
    mask: Tensor
    shares: Tensor
    targets: tuple[int, ...]
    chosen: tuple[bool, ...]
    score: Callable[[Tensor], Tensor]
    image: str = ""

    @property
    def real(self) -> Tensor:
        """``(N,)``, False where a region pads."""
        return self.regions.mask[0]

    def log_probabilities(self, memory: Memory) -> Tensor:
        """``(B, T)``, the text being read over ``B`` memories."""
        return self.score(through(self.network.decoder, self.tokens, memory, self.mask))

    def of_words(self, rows: Tensor) -> Tensor:
        """What belongs to targets, ``(T, ...)``, as what belongs to words, ``(W, ...)``."""
        return rows[list(self.targets)]


class Answer(NamedTuple):
    """The answer that a passage asks for.

    Attributes:
        text: as it is shown.
        place: in the vocabulary; -1 for one that was written freely.
        temperature: that a classifier's scores are divided by.
    """

    text: str
    place: int
    temperature: float = 1.0


@torch.inference_mode(mode=False)  # so that they can be differentiated, wherever made
def caption_passage(
    captioner: Captioner,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    caption: Sequence[int],
) -> Passage:
    """A finished caption, teacher-forced.

    Args:
        captioner: that wrote it, or reads it.
        tokenizer: of its ids.
        regions: of the image, ``B`` being 1.
        caption: ids without the start token; what follows the end token is not read.

    Raises:
        InputError: if the captioner sees no image.
    """
    _require_eyes(captioner)
    ids = list(caption)
    if tokenizer.end in ids:
        ids = ids[: ids.index(tokenizer.end) + 1]
    device = regions.features.device
    written = torch.tensor(ids, device=device, dtype=torch.long)
    tokens = torch.cat([written.new_tensor([tokenizer.start]), written])[: max(1, len(ids))]
    words = tokenizer.words(ids) if ids else []
    spans = _spans(words, len(tokens)).to(device)

    def score(hidden: Tensor) -> Tensor:
        likely = captioner.decoder.logits(hidden).float().log_softmax(dim=-1)
        if not words:
            return likely[:, 0, :0]
        chosen = likely.gather(-1, written.expand(len(hidden), -1).unsqueeze(-1)).squeeze(-1)
        return chosen @ spans.T

    return Passage(
        network=captioner,
        regions=regions,
        words=tuple(word.text for word in words),
        tokens=tokens,
        mask=_prefix_mask(0, len(tokens)).to(device),
        shares=spans / spans.sum(dim=1, keepdim=True),
        targets=tuple(range(len(words))),
        chosen=(True,) * len(words),
        score=score,
    )


def caption_passages(
    captioner: Captioner,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    captions: Sequence[Sequence[int]],
) -> list[Passage]:
    """The same of one caption for each image of a batch."""
    return [
        caption_passage(captioner, tokenizer, regions.each(lambda part, at=at: part[at, None]), ids)
        for at, ids in enumerate(captions)
    ]


@torch.inference_mode(mode=False)  # so that they can be differentiated, wherever made
def question_passage(
    answerer: QuestionAnswerer,
    tokenizer: CaptionTokenizer,
    regions: RegionFeatures,
    question: Sequence[int],
    answer: Answer,
) -> Passage:
    """A question as it is read in both directions, and the answer as its last word.

    All words ask for the answer's log-probability. What a classified answer looked at is what
    the question's tokens looked at, by the weights with which the classifier pools them; what
    a written answer looked at is what its own tokens did.

    Args:
        answerer: that answers.
        tokenizer: of its text.
        regions: of the image, ``B`` being 1.
        question: ids, start and end included.
        answer: that is asked for.

    Raises:
        InputError: if the answerer sees no image.
    """
    _require_eyes(answerer)
    device = regions.features.device
    words = tokenizer.words(question)
    read = torch.tensor(list(question), device=device)
    if isinstance(answerer.head, AnswerWriter):
        ids = tokenizer.encode([answer.text], max_length=answerer.decoder.max_length)[0]
        tokens, score, places = _written(answerer.decoder, read, ids)
        shares = places / places.sum()
    else:
        tokens = read
        score, shares = _classified(answerer, regions, tokens, answer)
    spans = _spans(words, len(tokens)).to(device)
    return Passage(
        network=answerer,
        regions=regions,
        words=(*(word.text for word in words), answer.text),
        tokens=tokens,
        mask=_prefix_mask(len(read), len(tokens)).to(device),
        shares=torch.cat([spans / spans.sum(dim=1, keepdim=True), shares.unsqueeze(0)]),
        targets=(0,) * (len(words) + 1),
        chosen=(*(False,) * len(words), True),
        score=score,
    )


def through(decoder: TextDecoder, tokens: Tensor, memory: Memory, mask: Tensor) -> Tensor:
    """Hidden states ``(B, L, D)`` of one text ``(L,)`` over ``B`` memories, under its own mask.

    With the causal mask it is the decoder's teacher-forced pass, with a full one its reading of
    a question; a question whose answer follows is both.
    """
    embedded = decoder.token_embedding(tokens) + decoder.position_embedding.weight[: len(tokens)]
    text, projected = embedded.expand(len(memory.features), -1, -1), decoder.project(memory)
    for block in decoder.text_blocks:
        text = block(text, mask)
    for block, key_values in zip(decoder.blocks, projected.key_values, strict=True):
        text = block.self_attention(text, mask)
        text = block.feed_forward(block.cross_attention(text, key_values, projected.mask))
    return decoder.output_norm(text)


def _require_eyes(network: Captioner | QuestionAnswerer) -> None:
    if isinstance(network.encoder, BlindEncoder):
        raise InputError(
            "this model sees no image (its encoder is blind), so its words look nowhere; give a "
            "checkpoint whose encoder is a RegionEncoder"
        )


def _spans(words: Sequence[Word], length: int) -> Tensor:
    """``(W, L)``, 1 where a word has a token."""
    spans = torch.zeros(len(words), length)
    for row, word in zip(spans, words, strict=True):
        row[word.start : word.stop] = 1
    return spans


def _prefix_mask(prefix: int, length: int) -> Tensor:
    """``(L, L)``: the first tokens hear each other, those after them all that came before."""
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:prefix, :prefix] = True
    return mask


def _written(
    decoder: TextDecoder, question: Tensor, ids: Sequence[int]
) -> tuple[Tensor, Callable[[Tensor], Tensor], Tensor]:
    """Tokens of a question and its answer; the answer's score; 1 where its words are chosen."""
    answer = question.new_tensor(list(ids))
    tokens, first = torch.cat([question, answer[:-1]]), len(question)
    spoken = max(1, len(ids) - 2)  # an answer without words is its end

    def score(hidden: Tensor) -> Tensor:
        logits = decoder.logits(hidden[:, first : first + spoken])
        likely = logits.float().log_softmax(dim=-1)
        chosen = answer[1 : 1 + spoken].expand(len(hidden), -1).unsqueeze(-1)
        return likely.gather(-1, chosen).squeeze(-1).sum(dim=-1, keepdim=True)

    places = torch.zeros(len(tokens), device=question.device)
    places[first : first + spoken] = 1
    return tokens, score, places


@torch.no_grad()
def _classified(
    answerer: QuestionAnswerer, regions: RegionFeatures, tokens: Tensor, answer: Answer
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The score of a classifier's answer, and how it pools the question's tokens."""
    head = answerer.head
    if not isinstance(head, AnswerClassifier):
        raise InputError(
            f"maps of answers are for AnswerClassifier and AnswerWriter, not for "
            f"{type(head).__name__}; give another checkpoint"
        )
    everywhere = torch.ones_like(tokens, dtype=torch.bool)

    def score(hidden: Tensor) -> Tensor:
        pooled = head.pool(hidden, everywhere.expand(len(hidden), -1))
        likely = (head.classify(pooled).float() / answer.temperature).log_softmax(dim=-1)
        return likely[:, answer.place, None]

    full = torch.ones(len(tokens), len(tokens), dtype=torch.bool, device=tokens.device)
    hidden = through(answerer.decoder, tokens, answerer.encode(regions), full)
    return score, head.pool.weights(hidden, everywhere.unsqueeze(0))[0].float()
