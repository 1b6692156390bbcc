"""The text decoder against torch's and Hugging Face's, and against itself in other shapes."""

import json
import runpy
from pathlib import Path

import pytest
import tiny
import torch
from tiny import HEADS, LAYERS, SPECIAL, WIDTH, B, C, L, N, V
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from vlm.models.cache import TextCache
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory
from vlm.models.writing import WritingState

A, T = 4, 6  # texts that go on from a question, and their tokens
ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "goldens" / "hf_decoder.json").read_text())


def torch_twin(ours: TextDecoder) -> nn.TransformerDecoder:
    """torch's decoder with a copy of the weights of our blocks and last norm."""
    layer = nn.TransformerDecoderLayer(
        WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
    )
    theirs = nn.TransformerDecoder(layer, LAYERS, nn.LayerNorm(WIDTH))
    names = {
        "self_attention.attention.output": "self_attn.out_proj",
        "cross_attention.attention.output": "multihead_attn.out_proj",
        "self_attention.norm": "norm1",
        "cross_attention.norm": "norm2",
        "feed_forward.norm": "norm3",
        "feed_forward.mlp.0": "linear1",
        "feed_forward.mlp.2": "linear2",
    }
    attentions = {
        "self_attention.attention": "self_attn",
        "cross_attention.attention": "multihead_attn",
    }
    for their_block, our_block in zip(theirs.layers, ours.blocks, strict=True):
        for our_name, their_name in names.items():
            state = our_block.get_submodule(our_name).state_dict()
            their_block.get_submodule(their_name).load_state_dict(state)
        for our_name, their_name in attentions.items():
            attention = our_block.get_submodule(our_name)
            three = torch.cat([attention.query.weight, attention.key_value.weight])
            their_block.get_submodule(their_name).in_proj_weight.data = three.detach().clone()
            three = torch.cat([attention.query.bias, attention.key_value.bias])
            their_block.get_submodule(their_name).in_proj_bias.data = three.detach().clone()
    theirs.norm.load_state_dict(ours.output_norm.state_dict())
    return theirs


def read_by_torch(ours: TextDecoder, theirs: nn.Module, tokens: Tensor, memory: Memory) -> Tensor:
    """Every caption a row, the memory repeated for each."""
    captions, length = tokens.shape[1:]
    text = ours.token_embedding(tokens.flatten(0, 1)) + ours.position_embedding.weight[:length]
    hidden_regions = torch.where(memory.mask, 0.0, -torch.inf).to(text.dtype)
    causal = nn.Transformer.generate_square_subsequent_mask(length, dtype=text.dtype)
    hidden = theirs(
        text,
        memory.features.repeat_interleave(captions, dim=0),
        tgt_mask=causal,
        tgt_is_causal=True,
        memory_key_padding_mask=hidden_regions.repeat_interleave(captions, dim=0),
    )
    return hidden.view(*tokens.shape, -1)


def stepped(decoder: TextDecoder, tokens: Tensor, memory: Memory) -> Tensor:
    """Hidden states by cached steps, the sequences of an image being its rows."""
    projected, found = decoder.project(memory), []
    cache = TextCache(torch.ones(len(tokens), 0, dtype=torch.bool))
    for position in range(tokens.shape[-1]):
        hidden = decoder.step(
            tokens[..., position],
            positions=torch.full(tokens.shape[:2], position),
            cache=cache,
            memory=projected,
        )
        found.append(hidden)
    return torch.stack(found, dim=2)


def test_reading_is_that_of_torch_forward_and_backward():
    decoder, memory, tokens = tiny.decoder().double(), tiny.memory(), tiny.tokens(B, C, L)
    theirs = torch_twin(decoder).double()
    features = memory.features.double().requires_grad_()
    memory = memory._replace(features=features)
    expected = read_by_torch(decoder, theirs, tokens, memory)
    found = decoder(tokens, memory)
    assert_close(found, expected)

    upstream = tiny.random(B, C, L, WIDTH, seed=5).double()
    embeddings = [features, decoder.token_embedding.weight, decoder.position_embedding.weight]
    block, their_block = decoder.blocks[0], theirs.layers[0]
    attention, their_attention = block.cross_attention.attention, their_block.multihead_attn
    ours = [*embeddings, block.feed_forward.mlp[0].weight, block.self_attention.norm.weight]
    ours.append(attention.output.weight)
    copies = [*embeddings, their_block.linear1.weight, their_block.norm1.weight]
    copies.append(their_attention.out_proj.weight)
    expected_gradients = torch.autograd.grad(
        expected, [*copies, their_attention.in_proj_weight], upstream
    )
    *gradients, query, key_value = torch.autograd.grad(
        found, [*ours, attention.query.weight, attention.key_value.weight], upstream
    )
    assert_close([*gradients, torch.cat([query, key_value])], list(expected_gradients))


def test_reading_and_writing_are_those_of_hugging_face():
    script = runpy.run_path(str(ROOT / "scripts" / "make_parity_golden.py"))
    special, search = script["SPECIAL"], script["SEARCH"]
    decoder, memory, tokens = script["parity_case"]()
    targets = tokens[..., 1:]
    real = targets != special.pad
    hidden = decoder(tokens[..., :-1], memory, real=real)
    loss = functional.cross_entropy(decoder.logits(hidden[real]), targets[real])
    assert_close(loss.item(), GOLDEN["loss"], rtol=0, atol=1e-5)
    loss.backward()
    last = decoder.blocks[-1].cross_attention.attention
    norms = {
        "embedding_gradient_norm": decoder.token_embedding.weight.grad.norm(),
        "cross_key_value_gradient_norm": last.key_value.weight.grad.norm(),
    }
    for name, norm in norms.items():
        assert_close(norm.item(), GOLDEN[name], rtol=1e-4, atol=1e-6)
    state = WritingState(decoder, decoder.project(memory))
    with torch.inference_mode():
        decoded = search.decode(state, batch=32, special=special, device=torch.device("cpu"))
    silent = (special.end, special.pad)
    captions = [[i for i in row if i not in silent] for row in decoded.tokens[:, 0].tolist()]
    assert captions == GOLDEN["captions"]
    assert len({len(caption) for caption in captions}) > 3  # the golden itself says something


@pytest.mark.parametrize("text_layers", [0, 1])
@pytest.mark.parametrize("captions", [1, C])
def test_cached_steps_are_the_full_reading(captions, text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers), tiny.memory()
    tokens = tiny.tokens(B, captions, L)
    assert_close(stepped(decoder, tokens, memory), decoder(tokens, memory))


@pytest.mark.parametrize("text_layers", [0, 1])
@pytest.mark.parametrize("position", range(1, L))
def test_a_later_token_changes_no_earlier_state(position, text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers), tiny.memory()
    tokens = tiny.tokens(B, C, L)
    changed = tokens.clone()
    changed[..., position:] = (changed[..., position:] - 3 + 1) % (V - 3) + 3
    before, after = decoder(tokens, memory), decoder(changed, memory)
    assert_close(after[:, :, :position], before[:, :, :position])
    assert (after[:, :, position] - before[:, :, position]).abs().amin(0).amax() > 0.1


@pytest.mark.parametrize("text_layers", [0, 1])
def test_captions_of_an_image_do_not_see_each_other(text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers), tiny.memory()
    tokens = tiny.tokens(B, C, L)
    alone = [decoder(tokens[:, [index]], memory) for index in range(C)]
    assert_close(decoder(tokens, memory), torch.cat(alone, dim=1))
    repeated = Memory(*(field.repeat_interleave(C, dim=0) for field in memory))
    rows = decoder(tokens.view(B * C, 1, L), repeated)
    assert_close(decoder(tokens, memory), rows.view(B, C, L, WIDTH))


def test_a_batch_is_its_images_one_by_one():
    decoder, memory, tokens = tiny.decoder(), tiny.memory(3), tiny.tokens(3, C, L)
    alone = [decoder(tokens[[i]], Memory(*(field[[i]] for field in memory))) for i in range(3)]
    assert_close(decoder(tokens, memory), torch.cat(alone))


@pytest.mark.parametrize("told", [False, True])
def test_padding_of_text_changes_nothing(told):
    """Along L and along C, whether or not the decoder is told what is padding."""
    decoder, memory, tokens = tiny.decoder(), tiny.memory(), tiny.tokens(B, C, L)
    padded = torch.full((B, C + 2, L + 3), SPECIAL.pad)
    padded[:, :C, :L] = tokens
    real = padded != SPECIAL.pad
    found = decoder(padded, memory, real=real if told else None)
    assert found.shape == (B, C + 2, L + 3, WIDTH)
    assert_close(found[:, :C, :L], decoder(tokens, memory))


@pytest.mark.parametrize("text_layers", [0, 1])
def test_packed_captions_of_many_lengths_are_read_as_if_alone(text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers).double(), tiny.memory()
    tokens = tiny.tokens(B, C, L)
    memory = memory._replace(features=memory.features.double())
    lengths = torch.tensor([[5, 1, 3], [2, 0, 2]])
    real = torch.arange(L) < lengths.unsqueeze(-1)
    packed, padded = decoder(tokens, memory, real=real), decoder(tokens, memory)
    assert_close(packed[real], padded[real])
    upstream = tiny.random(int(real.sum()), WIDTH, seed=6).double()
    parameters = list(decoder.parameters())
    assert_close(
        torch.autograd.grad(packed[real], parameters, upstream),
        torch.autograd.grad(padded[real], parameters, upstream),
    )


def test_padding_of_the_memory_changes_nothing():
    decoder, memory, tokens = tiny.decoder(), tiny.memory(), tiny.tokens(B, C, L)
    padding = 1e3 * tiny.random(B, 3, WIDTH, seed=8)
    padded = Memory(
        torch.cat([memory.features, padding], dim=1),
        torch.cat([memory.mask, torch.zeros(B, 3, dtype=torch.bool)], dim=1),
    )
    assert_close(decoder(tokens, padded), decoder(tokens, memory))
    assert_close(
        decoder.cross_weights(tokens, padded)[..., :N], decoder.cross_weights(tokens, memory)
    )


def test_permuting_regions_permutes_maps_and_leaves_states():
    decoder, memory, tokens = tiny.decoder(), tiny.memory(), tiny.tokens(B, C, L)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    permuted = Memory(memory.features[:, order], memory.mask[:, order])
    assert_close(decoder(tokens, permuted), decoder(tokens, memory))
    maps = decoder.cross_weights(tokens, memory)
    assert_close(decoder.cross_weights(tokens, permuted), maps[..., order])


@pytest.mark.parametrize("text_layers", [0, 1])
@pytest.mark.parametrize("both_ways", [False, True])
def test_replayed_weights_times_values_are_what_cross_attention_found(both_ways, text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers), tiny.memory()
    tokens, real = tiny.tokens(B, C, L), torch.ones(B, C, L, dtype=torch.bool)
    found: list[Tensor] = []
    for block in decoder.blocks:
        block.cross_attention.attention.register_forward_hook(
            lambda *called: found.append(called[-1])
        )
    if both_ways:
        decoder.read(tokens, memory, real=real)
        weights = decoder.reading_weights(tokens, memory, real=real)
    else:
        decoder(tokens, memory)
        weights = decoder.cross_weights(tokens, memory)
    assert weights.shape == (LAYERS, B, C, L, HEADS, N)
    assert_close(weights.sum(-1), torch.ones(LAYERS, B, C, L, HEADS))
    assert (weights[:, 1, ..., -2:] == 0).all()  # padding of the second image
    values = [key_values.values for key_values in decoder.project(memory).key_values]
    for index, block in enumerate(decoder.blocks):
        heads = torch.einsum("bclhn,bhnd->bclhd", weights[index], values[index])
        output = block.cross_attention.attention.output(heads.flatten(3))
        assert_close(output.flatten(0, 2), found[index])  # nothing pads


def test_where_padded_questions_look_is_where_each_looks_alone():
    decoder, memory = tiny.decoder(text_layers=1), tiny.memory()
    tokens, real = tiny.asked()
    weights = decoder.reading_weights(tokens, memory, real=real)
    assert_close(weights.sum(-1), real.float()[None, ..., None].expand(LAYERS, -1, -1, -1, HEADS))
    for image, place in real.any(dim=-1).nonzero().tolist():
        one = Memory(*(field[[image]] for field in memory))
        question = tokens[image, place][real[image, place]].view(1, 1, -1)
        whole = torch.ones_like(question, dtype=torch.bool)
        alone = decoder.reading_weights(question, one, real=whole)[:, 0, 0]
        assert_close(weights[:, image, place, : question.shape[-1]], alone)


@pytest.mark.parametrize("text_layers", [0, 1])
def test_texts_that_follow_a_question_are_one_sequence_with_it(text_layers):
    decoder, memory = tiny.decoder(text_layers=text_layers).double(), tiny.memory()
    memory = memory._replace(features=memory.features.double())
    (tokens, real), texts = tiny.asked(), tiny.tokens(B, C, A, T, seed=21)
    found = decoder.follow(texts, decoder.begin(tokens, memory, real=real))
    assert found.shape == (B, C, A, T, WIDTH)
    expected = torch.stack(
        [
            tiny.read_on(decoder, one, question, text)
            for image in range(B)
            for one in [Memory(*(field[[image]] for field in memory))]
            for place in range(C)
            for question in [tokens[image, place][real[image, place]]]
            for text in texts[image, place]
        ]
    ).view(found.shape)
    assert_close(found, expected)  # after the question that is not there, too
    upstream = tiny.random(*found.shape, seed=22).double()
    parameters = list(decoder.parameters())
    assert_close(
        torch.autograd.grad(found, parameters, upstream),
        torch.autograd.grad(expected, parameters, upstream),
    )


def test_a_text_after_nothing_is_a_text():
    decoder, memory, texts = tiny.decoder(text_layers=1), tiny.memory(), tiny.tokens(B, C, 1, T)
    nothing = tiny.tokens(B, C, L)
    real = torch.zeros(B, C, L, dtype=torch.bool)
    real[:, 0] = True  # one sequence has to be there
    followed = decoder.follow(texts, decoder.begin(nothing, memory, real=real)).squeeze(2)
    assert_close(followed[:, 1:], decoder(texts[:, 1:, 0], memory))


def test_neither_padding_nor_other_questions_nor_other_texts_change_what_follows():
    decoder, memory = tiny.decoder(text_layers=1), tiny.memory()
    (tokens, real), texts = tiny.asked(), tiny.tokens(B, C, A, T, seed=21)
    plain = decoder.follow(texts, decoder.begin(tokens, memory, real=real))

    padded = torch.cat([torch.where(real, tokens, 4), tiny.tokens(B, C, 2)], dim=-1)
    longer = torch.cat([real, torch.zeros(B, C, 2, dtype=torch.bool)], dim=-1)
    prefix = decoder.begin(padded, memory, real=longer)
    assert_close(decoder.follow(texts, prefix), plain)
    alone = [decoder.follow(texts[:, :, [index]], prefix) for index in range(A)]
    assert_close(torch.cat(alone, dim=2), plain)

    for place in range(2):
        prefix = decoder.begin(tokens[:, [place]], memory, real=real[:, [place]])
        assert_close(decoder.follow(texts[:, [place]], prefix), plain[:, [place]])


@pytest.mark.parametrize("position", range(1, T))
def test_a_later_token_of_a_text_that_follows_changes_no_earlier_state(position):
    decoder, memory = tiny.decoder(text_layers=1), tiny.memory()
    (tokens, real), texts = tiny.asked(), tiny.tokens(B, C, A, T, seed=21)
    changed = texts.clone()
    changed[..., position:] = (changed[..., position:] - 3 + 1) % (V - 3) + 3
    prefix = decoder.begin(tokens, memory, real=real)
    before, after = decoder.follow(texts, prefix), decoder.follow(changed, prefix)
    assert_close(after[..., :position, :], before[..., :position, :])
    assert (after - before)[..., position, :].abs().amax(-1).amin() > 0.1


@pytest.mark.parametrize("text_layers", [0, 1])
def test_writing_after_a_question_is_following_it(text_layers):
    """One row a question, then one for each text, at last the texts in another order."""
    decoder, memory = tiny.decoder(text_layers=text_layers), tiny.memory()
    (tokens, real), texts = tiny.asked(), tiny.tokens(B, C, A, T, seed=21)
    texts[..., 1] = texts[:, :, :1, 1]  # of one beginning
    prefix = decoder.begin(tokens, memory, real=real)
    expected = decoder.logits(decoder.follow(texts, prefix)).log_softmax(dim=-1).flatten(0, 1)
    rows = texts.flatten(0, 1)  # (B * C, A, T)
    state = WritingState.after(decoder, prefix)
    for place in range(2):
        assert_close(state.step(rows[:, :1, place]), expected[:, :1, place])
    state.reorder(torch.zeros(B * C, A, dtype=torch.long))
    for place in range(2, 4):
        assert_close(state.step(rows[..., place]), expected[..., place, :])
    order = torch.tensor([[2, 0, 3, 1], [1, 1, 0, 2]] * C)
    state.reorder(order)
    images = torch.arange(B * C).unsqueeze(1)
    for place in range(4, T):
        found = state.step(rows[images, order, place])
        assert found.dtype == torch.float32
        assert_close(found, expected[images, order, place])


def test_text_layers_come_first_and_see_no_memory():
    decoder, memory, tokens = tiny.decoder(text_layers=2), tiny.memory(), tiny.tokens(B, C, L)
    found: list[Tensor] = []
    for block in decoder.text_blocks:
        block.feed_forward.register_forward_hook(lambda *called: found.append(called[-1]))
    plain = decoder(tokens, memory)
    other = decoder(tokens, tiny.memory(seed=9))
    assert not torch.allclose(plain, other)
    assert len(found) == 4
    assert_close(found[2:], found[:2], rtol=0, atol=0)
    embedded = decoder.token_embedding(tokens) + decoder.position_embedding.weight[:L]
    alone = embedded.flatten(0, 1)
    for block in decoder.text_blocks:
        alone = block(alone, torch.ones(L, L, dtype=torch.bool).tril())
    assert_close(found[1].view(B * C, L, WIDTH), alone)


@pytest.mark.parametrize("text_layers", [0, 5])
def test_what_branches_add_at_first_falls_with_how_many_there_are(text_layers):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = TextDecoder(V, width=60, layers=2, text_layers=text_layers, heads=3)
    # GPT-2's rule: 0.02 / sqrt(branches), three of each layer and two of each over text alone.
    expected = 0.02 / (3 * 2 + 2 * text_layers) ** 0.5
    for block in (*decoder.text_blocks, *decoder.blocks):
        for layer in (block.self_attention.attention.output, block.feed_forward.mlp[2]):
            # Of 3,600 numbers or more: four standard errors of a standard deviation are 5 %.
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.05)


def test_input_and_output_embeddings_are_tied():
    decoder = tiny.decoder()
    text = tiny.random(B, C, WIDTH)
    assert decoder.logits(text).shape == (B, C, V)
    assert_close(decoder.logits(text)[..., 5], text @ decoder.token_embedding.weight[5])
    assert not [name for name, _ in decoder.named_parameters() if "head" in name]


def test_more_tokens_than_positions_are_refused():
    decoder, memory = tiny.decoder(), tiny.memory()
    decoder(tiny.tokens(B, C, 13), memory)
    with pytest.raises(ValueError, match="at most 13 tokens, got 14"):
        decoder(tiny.tokens(B, C, 14), memory)
    state = WritingState(decoder, decoder.project(memory))
    for _ in range(13):
        state.step(tiny.tokens(B, 1))
    with pytest.raises(ValueError, match="at most 13 tokens, got 14"):
        state.step(tiny.tokens(B, 1))
    tokens, real = tiny.asked()
    prefix = decoder.begin(tokens, memory, real=real)
    decoder.follow(tiny.tokens(B, C, 1, 13 - L), prefix)
    with pytest.raises(ValueError, match="at most 13 tokens, got 14"):
        decoder.follow(tiny.tokens(B, C, 1, 14 - L), prefix)
    state = WritingState.after(decoder, prefix)
    for _ in range(13 - L):
        state.step(tiny.tokens(B * C, 1))
    with pytest.raises(ValueError, match="at most 13 tokens, got 14"):
        state.step(tiny.tokens(B * C, 1))
