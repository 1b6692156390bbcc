"""Maps by replay and by passage: of beams that crossed, of questions, under every reduction."""

import numpy as np
import pytest
import torch
from reading import BPE, COUNT, HEADS, LAYERS, TEXTS, WORDS, a_caption, a_question, regions
from reading import captioner as captioner_of
from torch import Tensor

from vlm.decoding import BeamSearch, SpecialTokens
from vlm.errors import InputError
from vlm.explain.maps import BY_MODEL, explain, reductions_of, replay
from vlm.explain.passages import caption_passage, caption_passages
from vlm.explain.recording import recorded
from vlm.formats.word_maps import LAST, WordMaps, read_word_maps, write_word_maps
from vlm.models import Captioner
from vlm.models.answer_heads import AnswerClassifier, AnswerWriter
from vlm.models.encoder import BlindEncoder
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer

KINDS = ["last", "mean", "layer-1", "layer-2-head-3", *BY_MODEL]


@pytest.fixture(params=[WORDS, BPE], ids=["words", "bpe"])
def tokenizer(request) -> CaptionTokenizer:
    return request.param.train(TEXTS)


@pytest.fixture
def captioner(tokenizer) -> Captioner:
    return captioner_of(tokenizer)


def ids_of(tokenizer: CaptionTokenizer, *texts: str) -> list[list[int]]:
    return [tokenizer.encode([text], max_length=40)[0][1:] for text in texts]


def explained(
    captioner: Captioner,
    tokenizer: CaptionTokenizer,
    images: RegionFeatures,
    ids: list[list[int]],
    reduction: str = LAST,
) -> list[WordMaps]:
    """Maps of a caption an image, each by itself."""
    passages = caption_passages(captioner, tokenizer, images, ids)
    return [explain(passage, reduction) for passage in passages]


def test_each_word_has_one_row_that_sums_to_one(captioner, tokenizer):
    ids = ids_of(tokenizer, *TEXTS[:2])
    for maps, text in zip(explained(captioner, tokenizer, regions(), ids), TEXTS, strict=False):
        assert maps.words == tuple(text.split())
        assert maps.weights.shape == (LAYERS, HEADS, len(maps.words), COUNT)
        assert maps.weights.dtype == maps.map.dtype == np.float32
        np.testing.assert_allclose(maps.weights.sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(maps.map, maps.weights[-1].mean(axis=0))
        assert ((maps.probabilities > 0) & (maps.probabilities <= 1)).all()


class Watched:
    """A state whose every row remembers where it looked, by what it has read."""

    def __init__(self, captioner: Captioner, memory) -> None:
        self.network, self.state = captioner, captioner.start(memory)
        self.read: list[list[tuple[int, ...]]] = [[()] for _ in memory.features]
        self.looks: dict[tuple[int, tuple[int, ...]], Tensor] = {}
        self.crossed: set[tuple[int, tuple[int, ...]]] = set()

    def step(self, tokens: Tensor) -> Tensor:
        with recorded(self.network) as looks:
            result = self.state.step(tokens)
        for image, rows in enumerate(tokens.tolist()):
            for row, token in enumerate(rows):
                self.read[image][row] += (token,)
                at = torch.stack([layer[image, :, row] for layer in looks.cross])
                self.looks[image, self.read[image][row]] = at  # (layers, H, N)
        return result

    def reorder(self, rows: Tensor) -> None:
        for image, old in enumerate(rows.tolist()):
            self.crossed |= {
                (image, self.read[image][row])
                for new, row in enumerate(old)
                if new != row and len(self.read[image]) > 1
            }
            self.read[image] = [self.read[image][row] for row in old]
        self.state.reorder(rows)


def test_maps_are_what_the_beams_saw_while_they_crossed():
    tokenizer = WORDS.train(TEXTS)  # a word is a token, so that rows are steps
    captioner, images = captioner_of(tokenizer, seed=5), regions()
    special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)
    strategy = BeamSearch(beams=4, max_length=9)
    with torch.no_grad():
        state = Watched(captioner, captioner.encode(images))
        decoded = strategy.decode(state, batch=2, special=special, device=torch.device("cpu"))
    tokens = decoded.tokens[:, 0].tolist()
    crossings = 0
    for row, maps in enumerate(explained(captioner, tokenizer, images, tokens)):
        seen = [
            state.looks[row, (tokenizer.start, *tokens[row][:place])]
            for place in range(len(maps.words))
        ]
        np.testing.assert_allclose(maps.weights, torch.stack(seen, dim=2).numpy(), atol=1e-5)
        chosen = decoded.log_probabilities[row, 0, : len(maps.words)].exp()
        np.testing.assert_allclose(maps.probabilities, chosen.numpy(), atol=1e-5)
        prefixes = [(row, (tokenizer.start, *tokens[row][:n])) for n in range(len(maps.words))]
        crossings += len(state.crossed & set(prefixes))
    assert crossings >= 2, "the best captions changed their row on the way"


def test_probabilities_multiply_to_what_beam_search_summed(captioner, tokenizer):
    special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad)
    state = captioner.start(captioner.encode(regions()))
    strategy = BeamSearch(beams=3, max_length=9)
    with torch.no_grad():
        decoded = strategy.decode(state, batch=2, special=special, device=torch.device("cpu"))
    tokens = decoded.tokens[:, 0].tolist()
    maps = explained(captioner, tokenizer, regions(), tokens)
    for row in range(2):
        length = int(decoded.lengths[row, 0])
        ended = tokens[row][length - 1] == tokenizer.end
        in_words = decoded.log_probabilities[row, 0, : length - ended].sum()
        assert np.log(maps[row].probabilities).sum() == pytest.approx(in_words.item(), abs=1e-4)


@pytest.mark.parametrize("reduction", ["last", "layer-1-head-2", "relevance"])
def test_a_batch_is_its_images_one_by_one_whatever_the_padding(captioner, tokenizer, reduction):
    ids, both = ids_of(tokenizer, TEXTS[0], TEXTS[2]), regions(padded=4)
    passages = caption_passages(captioner, tokenizer, both, ids)
    assert len({len(passage.tokens) for passage in passages}) == 2, "one of them is padded"
    together = replay(passages, captioner.encode(both), reduction)
    for passage, of_batch in zip(passages, together, strict=True):
        alone = explain(passage, reduction)
        assert of_batch.words == alone.words
        assert np.isnan(of_batch.probabilities).all()
        for name in ("weights", "map"):
            found, expected = getattr(of_batch, name), getattr(alone, name)
            assert found.dtype == expected.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(of_batch.boxes, alone.boxes)


def test_permuted_regions_permute_the_maps(captioner, tokenizer):
    ids = ids_of(tokenizer, *TEXTS[:2])
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))
    moved = regions().each(lambda part: part[:, order])
    for reduction in ("last", *BY_MODEL):
        for one, other in zip(
            explained(captioner, tokenizer, regions(), ids, reduction),
            explained(captioner, tokenizer, moved, ids, reduction),
            strict=True,
        ):
            np.testing.assert_allclose(one.map[..., order], other.map, atol=1e-4)


@pytest.mark.parametrize("reduction", KINDS)
@pytest.mark.parametrize("kind", [None, AnswerClassifier, AnswerWriter])
def test_every_reduction_has_rows_that_sum_to_one_and_nothing_for_padding(
    reduction, kind, tmp_path
):
    passage = a_caption(padded=4) if kind is None else a_question(kind, padded=4)
    maps = explain(passage, reduction)
    assert maps.map.shape == (len(maps.words), COUNT)
    assert maps.map.dtype == np.float32
    assert (maps.map >= 0).all()
    np.testing.assert_allclose(maps.map.sum(axis=1), 1, atol=1e-5)
    assert (maps.map[:, COUNT - 4 :] == 0).all()
    assert (maps.weights[..., COUNT - 4 :] == 0).all()
    of_answer = kind is not None and reduction in ("attnlrp", "occlusion")
    assert (len({tuple(row) for row in maps.map}) == 1) == of_answer
    write_word_maps(tmp_path / "maps.npz", maps)
    assert read_word_maps(tmp_path / "maps.npz").reduction == reduction


def test_a_questions_last_word_is_its_classified_answer():
    passage = a_question(AnswerClassifier)
    maps, network = explain(passage), passage.network
    assert maps.words == ("the", "ring", "lies", "on", "the", "red", "sand", "blue ring")
    ids = passage.tokens.view(1, 1, -1)
    real = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        memory = network.encode(passage.regions)
        looks = network.decoder.reading_weights(ids, memory, real=real)[
            :, 0, 0
        ]  # (layers, L, H, N)
        scores = network(memory, ids, real)[0, 0]
        hidden = network.decoder.read(ids, memory, real=real)
        pool = network.head.pool.score(hidden)[0, 0, :, 0].softmax(-1)
    for place in range(7):  # the start comes first
        np.testing.assert_allclose(maps.weights[:, :, place], looks[:, place + 1], atol=1e-5)
    pooled = torch.einsum("l,klhn->khn", pool, looks)
    np.testing.assert_allclose(maps.weights[:, :, -1], pooled, atol=1e-5)
    assert maps.probabilities[-1] == pytest.approx((scores / 1.5).softmax(-1)[1].item(), abs=1e-5)
    assert np.isnan(maps.probabilities[:-1]).all()


def test_a_written_answer_looks_by_its_own_words():
    passage = a_question(AnswerWriter)
    maps, network = explain(passage), passage.network
    question = passage.tokens[:-3].view(1, 1, -1)  # behind it: start, blue, ring
    real = torch.ones_like(question, dtype=torch.bool)
    with torch.no_grad(), recorded(network) as looks:
        prefix = network.decoder.begin(question, network.encode(passage.regions), real=real)
        answer = torch.tensor([[[passage.tokens[-3:].tolist()]]])
        hidden = network.decoder.follow(answer.view(1, 1, 1, -1), prefix)[0, 0, 0]
    likely = network.decoder.logits(hidden).log_softmax(-1)
    expected = likely[0, answer[..., 1]] + likely[1, answer[..., 2]]
    assert np.log(maps.probabilities[-1]) == pytest.approx(expected.item(), abs=1e-5)
    after = torch.stack(looks.cross[LAYERS:])[:, 0]  # (layers, H, start blue ring, N)
    np.testing.assert_allclose(maps.weights[:, :, -1], after[:, :, :2].mean(dim=2), atol=1e-5)


def test_a_caption_without_words_has_empty_maps(captioner, tokenizer):
    for ids in ([], [tokenizer.end]):
        for reduction in ("last", "relevance", "attnlrp", "occlusion"):
            one = regions(1)
            passage = caption_passage(captioner, tokenizer, one, ids)
            maps = explain(passage, reduction)
            again = replay([passage], captioner.encode(one), reduction)[0]
            assert maps.words == again.words == ()
            assert maps.map.shape == again.map.shape == (0, COUNT)
            assert maps.probabilities.shape == (0,)


@pytest.mark.parametrize("name", ["layer-3", "layer-1-head-5", "layer-0", "attention", ""])
def test_what_is_no_reduction_is_told_with_those_there_are(captioner, tokenizer, name):
    told = (
        "there are last, mean, layer-1, layer-2, rollout, gradient, relevance, attnlrp, "
        "occlusion, "
        "layer-1-head-1 to layer-2-head-4"
    )
    assert len(reductions_of(captioner)) == 9 + LAYERS * HEADS
    one = regions(1)
    memory = captioner.encode(one)
    passages = caption_passages(captioner, tokenizer, one, ids_of(tokenizer, "a ring"))
    for read in (lambda: explain(passages[0], name), lambda: replay(passages, memory, name)):
        with pytest.raises(InputError, match=f"there is no reduction '{name}'; {told}$"):
            read()


def test_a_model_that_sees_nothing_looks_nowhere(tokenizer):
    blind = Captioner(BlindEncoder(7, width=16), captioner_of(tokenizer).decoder)
    with pytest.raises(InputError, match="sees no image"):
        caption_passages(blind, tokenizer, regions(1), ids_of(tokenizer, "a ring"))
