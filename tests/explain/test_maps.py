"""Maps by replay, and the pictures made of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from vlm.decoding import BeamSearch, SpecialTokens
from vlm.explain.maps import WordMaps, replay
from vlm.explain.overlay import heat_map, overlay, strip
from vlm.models import Captioner, RegionEncoder, TextDecoder
from vlm.regions import RegionFeatures, grid_boxes
from vlm.text.tokenizer import BytePairVocabulary, CaptionTokenizer, WordVocabulary

TEXTS = ["a red ring lies on the sand", "a blue square hangs over grass", "the unseen ring"]
ROWS, COLUMNS, LAYERS, HEADS = 3, 5, 2, 4


@pytest.fixture(params=[WordVocabulary(1), BytePairVocabulary(290)], ids=["words", "bpe"])
def tokenizer(request) -> CaptionTokenizer:
    return request.param.train(TEXTS)


@pytest.fixture
def captioner(tokenizer) -> Captioner:
    torch.manual_seed(3)
    made = Captioner(
        RegionEncoder(7, width=16, layers=1, heads=2),
        TextDecoder(len(tokenizer), width=16, layers=LAYERS, heads=HEADS, max_length=40),
    )
    for parameter in made.parameters():  # away from the small start, so that maps differ
        torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


@pytest.fixture
def regions() -> RegionFeatures:
    generator = torch.Generator().manual_seed(8)
    count = ROWS * COLUMNS
    return RegionFeatures(
        torch.randn(2, count, 7, generator=generator),
        grid_boxes(ROWS, COLUMNS).expand(2, -1, -1),
        torch.ones(2, count, dtype=torch.bool),
    )


def test_each_word_has_one_row_that_sums_to_one(captioner, tokenizer, regions):
    ids = [tokenizer.encode([text], max_length=40)[0][1:] for text in TEXTS[:2]]
    for maps, text in zip(replay(captioner, tokenizer, regions, ids), TEXTS, strict=False):
        assert maps.words == text.split()
        assert maps.weights.shape == (LAYERS, HEADS, len(maps.words), ROWS * COLUMNS)
        torch.testing.assert_close(maps.weights.sum(-1), torch.ones(maps.weights.shape[:-1]))
        torch.testing.assert_close(maps.mean().sum(-1), torch.ones(len(maps.words)))
        assert ((maps.probabilities > 0) & (maps.probabilities <= 1)).all()


def test_probabilities_multiply_to_what_beam_search_summed(captioner, tokenizer, regions):
    special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad)
    state = captioner.start(captioner.encode(regions))
    strategy = BeamSearch(beams=3, max_length=9)
    with torch.no_grad():
        decoded = strategy.decode(state, batch=2, special=special, device=torch.device("cpu"))
    tokens = decoded.tokens[:, 0].tolist()
    maps = replay(captioner, tokenizer, regions, tokens)
    for row in range(2):
        length = int(decoded.lengths[row, 0])
        ended = tokens[row][length - 1] == tokenizer.end
        in_words = decoded.log_probabilities[row, 0, : length - ended].sum()
        assert maps[row].probabilities.log().sum() == pytest.approx(in_words.item(), abs=1e-4)


def test_a_batch_is_its_images_one_by_one_whatever_the_padding(captioner, tokenizer, regions):
    ids = [tokenizer.encode([text], max_length=40)[0][1:] for text in (TEXTS[0], TEXTS[2])]
    together = replay(captioner, tokenizer, regions, ids)
    for row in range(2):
        alone = RegionFeatures(*(field[row : row + 1] for field in regions[:3]))
        one = replay(captioner, tokenizer, alone, [ids[row]])[0]
        torch.testing.assert_close(one.weights, together[row].weights)
        torch.testing.assert_close(one.probabilities, together[row].probabilities)


def test_permuted_regions_permute_the_maps(captioner, tokenizer, regions):
    ids = [tokenizer.encode([text], max_length=40)[0][1:] for text in TEXTS[:2]]
    order = torch.randperm(ROWS * COLUMNS, generator=torch.Generator().manual_seed(1))
    moved = RegionFeatures(*(field[:, order] for field in regions[:3]))
    for one, other in zip(
        replay(captioner, tokenizer, regions, ids),
        replay(captioner, tokenizer, moved, ids),
        strict=True,
    ):
        torch.testing.assert_close(one.weights[..., order], other.weights)


def test_padded_regions_weigh_nothing(captioner, tokenizer, regions):
    mask = torch.ones(2, ROWS * COLUMNS, dtype=torch.bool)
    mask[0, 4:] = False
    ids = [tokenizer.encode([text], max_length=40)[0][1:] for text in TEXTS[:2]]
    maps = replay(captioner, tokenizer, regions._replace(mask=mask), ids)
    assert maps[0].weights[..., 4:].max() == 0
    assert maps[1].weights[..., 4:].min() > 0


def test_the_heat_lies_where_the_region_is():
    boxes = grid_boxes(ROWS, COLUMNS).numpy()
    for region in range(ROWS * COLUMNS):
        heat = heat_map(np.eye(ROWS * COLUMNS)[region], boxes, (100, 45))
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        x0, y0, x1, y1 = boxes[region] * [100, 45, 100, 45]
        assert x0 <= x <= x1
        assert y0 <= y <= y1
        assert heat.max() == 1


def test_even_weights_make_an_even_map():
    heat = heat_map(np.full(ROWS * COLUMNS, 1 / 15), grid_boxes(ROWS, COLUMNS).numpy(), (97, 46))
    assert heat.min() > 0.95


def test_hot_is_lighter_than_cold_in_grey():
    picture = Image.new("RGB", (256, 1), (128, 128, 128))
    levels = np.asarray(overlay(picture, np.linspace(0, 1, 256)[None])) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(levels[0]) > -0.51).all(), "lightness rises up to rounding"
    assert levels[0, -1] - levels[0, 0] > 100


def some_maps(words: list[str]) -> WordMaps:
    weights = torch.rand(LAYERS, HEADS, len(words), ROWS * COLUMNS).softmax(-1)
    return WordMaps(words, weights, grid_boxes(ROWS, COLUMNS), torch.rand(len(words)))


def test_a_strip_has_a_panel_for_the_picture_and_each_word():
    picture = Image.new("RGB", (320, 200), "green")
    one = strip(picture, some_maps(["a"]), panel=100)
    assert one.width == 2 * 106 + 6
    many = strip(picture, some_maps(["a"] * 9), panel=100, columns=4)
    assert many.width == 4 * 106 + 6
    assert many.height == 3 * (one.height - 6) + 6
    strip(picture, some_maps([]), panel=100)
