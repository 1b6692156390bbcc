"""Runners-up of words against the model's own probabilities."""

import pytest
import torch

from vlm.explain.runners_up import END, runners_up
from vlm.training import CaptioningModule


@pytest.fixture
def module(tiny_checkpoint) -> CaptioningModule:
    return CaptioningModule.load(tiny_checkpoint)


def test_they_are_the_likeliest_others_after_the_words_before(module, tiny_world):
    photo = sorted((tiny_world / "images").iterdir())[0]
    passage, tokenizer = module.passage(photo), module.tokenizer
    found = runners_up(passage, tokenizer, most=3)
    assert len(found) == len(passage.words) > 1
    with torch.no_grad():
        memory = module.network.encode(passage.regions)
        hidden = module.network.decoder(passage.tokens[None, None], memory)
        likely = module.network.decoder.logits(hidden)[0, 0].softmax(dim=-1)
    for place, (word, others) in enumerate(zip(passage.words, found, strict=True)):
        assert word not in dict(others)
        chances = [probability for _, probability in others]
        assert chances == sorted(chances, reverse=True)
        assert len(others) == 3
        for text, probability in others:
            token = tokenizer.end if text == END else tokenizer.vocabulary[text]
            assert likely[place, token].item() == pytest.approx(probability, abs=1e-6)
        best = likely[place].argmax().item()
        assert tokenizer.decode([best]) in {word, others[0][0]} or best == tokenizer.end
