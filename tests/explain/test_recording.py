"""Recording: what it keeps is what the fused kernels did, and nothing of it stays."""

import torch
from reading import COUNT, HEADS, LAYERS, a_caption, a_question
from torch.testing import assert_close

from vlm.explain.passages import through
from vlm.explain.recording import recorded
from vlm.models.answer_heads import AnswerClassifier


def test_recorded_and_fused_outputs_are_equal_and_no_hook_stays():
    for passage in (a_caption(padded=3), a_question(AnswerClassifier, padded=3)):
        with torch.no_grad():
            before = passage.network.encode(passage.regions)
            fused = passage.log_probabilities(before)
            with recorded(passage.network) as looks:
                memory = passage.network.encode(passage.regions)
                explicit = passage.log_probabilities(memory)
            real = passage.real
            assert_close(memory.features[:, real], before.features[:, real], atol=1e-5, rtol=0)
            assert_close(explicit, fused, atol=1e-5, rtol=0)
            kept = sum(map(len, looks))
            assert torch.equal(passage.log_probabilities(before), fused)
            assert sum(map(len, looks)) == kept
        assert not any(module._forward_hooks for module in passage.network.modules())


def test_hooks_go_when_the_pass_fails():
    passage = a_caption()
    try:
        with recorded(passage.network):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert not any(module._forward_hooks for module in passage.network.modules())


def test_every_layer_is_kept_in_order():
    caption, question = a_caption(), a_question(AnswerClassifier)
    with torch.no_grad(), recorded(caption.network) as looks:
        caption.log_probabilities(caption.network.encode(caption.regions))
    length = len(caption.tokens)
    assert [layer.shape for layer in looks.regions] == [(1, 2, COUNT, COUNT)]
    assert [layer.shape for layer in looks.text] == [(1, HEADS, length, length)] * LAYERS
    tokens = caption.tokens.view(1, 1, -1)
    with torch.no_grad():
        memory = caption.network.encode(caption.regions)
        expected = caption.network.decoder.cross_weights(tokens, memory)[:, :, 0].transpose(2, 3)
    assert_close(torch.stack(looks.cross), expected, atol=1e-5, rtol=0)
    with torch.no_grad(), recorded(question.network) as looks:
        question.log_probabilities(question.network.encode(question.regions))
    assert [len(kind) for kind in looks] == [2, 1 + LAYERS, LAYERS]


def test_one_walk_is_the_decoders_two_ways_of_reading():
    caption, question = a_caption(padded=3), a_question(AnswerClassifier, padded=3)
    with torch.no_grad():
        for passage, read in ((caption, "forward"), (question, "read")):
            decoder, memory = passage.network.decoder, passage.network.encode(passage.regions)
            tokens = passage.tokens.view(1, 1, -1)
            real = torch.ones_like(tokens, dtype=torch.bool)
            expected = getattr(decoder, read)(tokens, memory, real=real)[:, 0]
            walked = through(decoder, passage.tokens, memory, passage.mask)
            assert_close(walked, expected, atol=1e-5, rtol=1e-5)
