"""A tiny captioner that reads, a tiny answerer, and one whose words hang on a single region."""

import torch
from torch import Tensor

from vlm.explain.passages import Answer, Passage, caption_passage, question_passage
from vlm.models import Captioner, RegionEncoder, TextDecoder
from vlm.models.answer_heads import AnswerClassifier, AnswerWriter
from vlm.models.answerer import QuestionAnswerer
from vlm.regions import RegionFeatures, grid_boxes
from vlm.text.tokenizer import BytePairVocabulary, CaptionTokenizer, WordVocabulary
from vlm.training.answering import spelled

TEXTS = ["a red ring lies on the sand", "a blue square hangs over grass", "the unseen ring"]
ANSWERS = ("red", "blue ring", "sand")
ROWS, COLUMNS, LAYERS, HEADS, REGION_WIDTH = 3, 5, 2, 4, 7
COUNT = ROWS * COLUMNS
WORDS, BPE = WordVocabulary(1), BytePairVocabulary(290)


def lively(network: torch.nn.Module, *, seed: int = 3) -> None:
    """Weights away from the small start, so that maps differ."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.4, generator=generator)
    network.eval()


def captioner(tokenizer: CaptionTokenizer, *, layers: int = LAYERS, seed: int = 3) -> Captioner:
    made = Captioner(
        RegionEncoder(REGION_WIDTH, width=16, layers=1, heads=2),
        TextDecoder(len(tokenizer), width=16, layers=layers, heads=HEADS, max_length=40),
    )
    lively(made, seed=seed)
    return made


def answerer(
    tokenizer: CaptionTokenizer, kind: type[AnswerClassifier] | type[AnswerWriter]
) -> QuestionAnswerer:
    """With a layer that hears the question alone, before two that look."""
    decoder = TextDecoder(
        len(tokenizer), width=16, layers=LAYERS, text_layers=1, heads=HEADS, max_length=40
    )
    encoder = RegionEncoder(REGION_WIDTH, width=16, layers=2, heads=2)
    made = QuestionAnswerer(encoder, decoder, kind(16, spelled(ANSWERS, tokenizer)))
    lively(made)
    return made


def regions(images: int = 2, *, padded: int = 0) -> RegionFeatures:
    """Of a grid; the last ones of the first image pad."""
    generator = torch.Generator().manual_seed(8)
    mask = torch.ones(images, COUNT, dtype=torch.bool)
    mask[0, COUNT - padded :] = False
    return RegionFeatures(
        torch.randn(images, COUNT, REGION_WIDTH, generator=generator),
        grid_boxes(ROWS, COLUMNS).expand(images, -1, -1),
        mask,
    )


def written(tokenizer: CaptionTokenizer, text: str) -> list[int]:
    """Ids of a caption without its start, its end included."""
    return tokenizer.encode([text], max_length=40)[0][1:]


def a_caption(*, padded: int = 0) -> Passage:
    tokenizer = BPE.train(TEXTS)
    one = regions(1, padded=padded)
    return caption_passage(captioner(tokenizer), tokenizer, one, written(tokenizer, TEXTS[0]))


def a_question(
    kind: type[AnswerClassifier] | type[AnswerWriter], *, padded: int = 0, answer: str = "blue ring"
) -> Passage:
    tokenizer = WORDS.train(TEXTS)
    return question_passage(
        answerer(tokenizer, kind),
        tokenizer,
        regions(1, padded=padded),
        tokenizer.encode(["the ring lies on the red sand"], max_length=40)[0],
        Answer(answer, ANSWERS.index(answer), temperature=1.5),
    )


def of_one_region(region: int) -> Passage:
    """A caption of one word, which becomes likelier the more of one region is seen.

    All other regions are nothing: their features are even, so that the norm makes zeros of
    them, no bias adds to that, boxes are not read, and regions do not hear each other.
    """
    tokenizer = WORDS.train(TEXTS)
    network = captioner(tokenizer)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    encoder = network.encoder
    assert isinstance(encoder, RegionEncoder)
    encoder.box_embedding.project.weight.data.zero_()
    for block in encoder.blocks:
        block.self_attention.attention.output.weight.data.zero_()
    features = torch.ones(1, COUNT, REGION_WIDTH)
    features[0, region] = torch.randn(REGION_WIDTH, generator=torch.Generator().manual_seed(1))
    one = regions(1)._replace(features=features)
    start = torch.tensor([[[tokenizer.start]]])

    def first(mask: Tensor) -> Tensor:
        hidden = network(one._replace(mask=mask), start)[0, 0, 0]
        return network.decoder.logits(hidden).log_softmax(-1)

    with torch.no_grad():
        without = torch.arange(COUNT).unsqueeze(0) != region
        gain = first(one.mask) - first(without)
    word = int(gain[4:].argmax()) + 4  # behind the special tokens
    return caption_passage(network, tokenizer, one, [word, tokenizer.end])
