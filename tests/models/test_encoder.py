"""From regions to memories: what may change them and what may not."""

import pytest
import tiny
import torch
from tiny import HEADS, REGION_WIDTH, WIDTH, B, C, L, N
from torch.testing import assert_close

from vlm.models.encoder import BlindEncoder, BoxEmbedding, Memory, RegionEncoder, concatenate
from vlm.regions import RegionFeatures


def encoder(layers: int) -> RegionEncoder:
    fresh = RegionEncoder(REGION_WIDTH, width=WIDTH, layers=layers, heads=HEADS)
    return tiny.enliven(fresh, seed=4)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_padding_and_its_boxes_change_nothing(layers):
    regions = tiny.regions()
    padded = RegionFeatures(
        torch.cat([regions.features, 1e3 * tiny.random(B, 3, REGION_WIDTH)], dim=1),
        torch.cat([regions.boxes, torch.ones(B, 3, 4)], dim=1),
        torch.cat([regions.mask, torch.zeros(B, 3, dtype=torch.bool)], dim=1),
    )
    plain, longer = encoder(layers)(regions), encoder(layers)(padded)
    assert plain.features.shape == (B, N, WIDTH)
    assert torch.equal(plain.mask, regions.mask)
    assert torch.equal(longer.mask, padded.mask)
    assert_close(longer.features[:, :N], plain.features)


@pytest.mark.parametrize("layers", [0, 2])
def test_permuting_regions_permutes_the_memory(layers):
    regions, order = tiny.regions(), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    permuted = RegionFeatures(*(field[:, order] for field in regions[:3]))
    plain, found = encoder(layers)(regions), encoder(layers)(permuted)
    assert_close(found, Memory(plain.features[:, order], plain.mask[:, order]))


@pytest.mark.parametrize("layers", [0, 2])
def test_a_batch_is_its_images_one_by_one(layers):
    regions = tiny.regions(3)
    alone = [encoder(layers)(RegionFeatures(*(f[[i]] for f in regions[:3]))) for i in range(3)]
    together = encoder(layers)(regions)
    assert_close(together.features, torch.cat([memory.features for memory in alone]))


@pytest.mark.parametrize("changed", ["features", "boxes"])
@pytest.mark.parametrize("layers", [0, 2])
def test_only_layers_let_regions_see_each_other(changed, layers):
    regions = tiny.regions()
    other = getattr(regions, changed).clone()
    other[:, 3] = other[:, 3].flip(-1)
    plain = encoder(layers)(regions).features
    touched = encoder(layers)(regions._replace(**{changed: other})).features - plain
    touched = touched.abs().amax(dim=-1) > 1e-4
    assert touched[:, 3].all()
    others = regions.mask & (torch.arange(N) != 3)
    assert touched[others].all() if layers else not touched[others].any()


def test_box_embedding_is_of_sines_and_cosines():
    embedding = BoxEmbedding(WIDTH, octaves=2)
    boxes = torch.tensor([[[0.0, 0.25, 0.5, 1.0]]])
    turns = torch.tensor([0, 0, 0.25, 0.5, 0.5, 1.0, 1.0, 2.0]) * torch.pi
    expected = embedding.project(torch.cat([turns.sin(), turns.cos()]))
    assert_close(embedding(boxes)[0, 0], expected)
    assert "frequencies" not in embedding.state_dict()


def test_the_blind_encoder_sees_nothing():
    blind = BlindEncoder(REGION_WIDTH, width=WIDTH)
    first, second = blind(tiny.regions(3, seed=1)), blind(tiny.regions(3, N + 2, seed=2))
    assert first.features.shape == (3, 1, WIDTH)
    assert_close(second, first, rtol=0, atol=0)
    assert_close(first.features[0], first.features[2], rtol=0, atol=0)
    assert first.mask.all()
    regions = tiny.regions()
    regions = regions._replace(features=regions.features.requires_grad_())
    blind(regions).features.sum().backward()
    assert regions.features.grad is None
    assert_close(blind.memory.grad, torch.full((1, 1, WIDTH), float(B)))


def test_concatenated_memories_are_attended_together():
    decoder, tokens = tiny.decoder(), tiny.tokens(B, C, L)
    whole = tiny.memory(B, N, seed=5)
    parts = [Memory(f, m) for f, m in zip(*(x.split([4, 3], 1) for x in whole), strict=True)]
    joined = concatenate(parts)
    assert_close(joined, whole)
    more = tiny.memory(B, 5, seed=6)
    maps = decoder.cross_weights(tokens, concatenate([more, *parts]))[0]
    for memory, part in ((more, maps[..., :5]), (whole, maps[..., 5:])):
        share = part.sum(-1, keepdim=True)
        assert (share > 0).all()
        assert_close(part / share, decoder.cross_weights(tokens, memory)[0])


@pytest.mark.parametrize("layers", [0, 2])
def test_boxes_are_told_from_cells_once_that_was_learned(layers):
    regions = tiny.regions()
    model = encoder(layers)
    kinds = torch.zeros(regions.mask.shape, dtype=torch.uint8)
    assert_close(model(regions._replace(kinds=kinds)).features, model(regions).features)
    kinds[:, 2] = 1
    told = model(regions._replace(kinds=kinds)).features
    assert not torch.allclose(told[:, 2], model(regions).features[:, 2])
    with torch.no_grad():
        model.box_kind.zero_()
    assert_close(model(regions._replace(kinds=kinds)).features, model(regions).features)


def test_a_new_encoder_is_the_same_with_and_without_boxes():
    assert not RegionEncoder(REGION_WIDTH, width=WIDTH, heads=HEADS).box_kind.any()


def test_stored_halves_are_read_as_the_weights_are():
    regions = tiny.regions()
    half = regions._replace(features=regions.features.half())
    whole = regions._replace(features=regions.features.half().float())
    assert torch.equal(encoder(1)(half).features, encoder(1)(whole).features)
