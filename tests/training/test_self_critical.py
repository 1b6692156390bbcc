"""SelfCritical is REINFORCE with a baseline, over captions drawn from one distribution."""

from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_captions import TEXTS, TinyCaptions, as_samples, tiny_captions
from torch import Tensor
from torch.testing import assert_close

from vlm.decoding import Decoded, Sampling, SpecialTokens
from vlm.errors import InputError
from vlm.metrics.cider import DocumentFrequencies, cider_d
from vlm.metrics.ngrams import count_ngrams
from vlm.models.encoder import Memory
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.caption_task import CaptionTask
from vlm.training.collapse import CollapseGuard
from vlm.training.recipe import describe, rebuild
from vlm.training.rewards import END, Bleu4, CiderD, Mixed, OwnReward, Reward, as_captions
from vlm.training.self_critical import SelfCritical

OWN = """
from math import inf, nan

def dogs(captions, references):
    return [c.split().count("dog") for c in captions]

def letters(captions, references):
    return [c.count("a") for c in captions]

def same(captions, references):
    return [0.1] * len(captions)  # whose mean of three is another number

def odd(captions, references):
    return [nan if "Two cats sleep" in r or "two cats sleep" in r else 1.0 for r in references]

def endless(captions, references):
    return [inf] * len(captions)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_self_critical_rewards.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    return "own_self_critical_rewards"


def prepared(tiny: TinyCaptions, **options) -> SelfCritical:
    objective = SelfCritical(**{"max_length": 7} | options)
    objective.prepare(as_samples(TEXTS), tiny.tokenizer)
    return objective


def special_of(tokenizer: CaptionTokenizer) -> SpecialTokens:
    return SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)


def drawn_again(tiny: TinyCaptions, sampling: Sampling, *, seed: int) -> Decoded:
    """What an objective draws after the same seed."""
    captioner, memory = tiny.captioner, Memory(tiny.memory.features.detach(), tiny.memory.mask)
    captioner.eval()
    with torch.no_grad():
        torch.manual_seed(seed)
        state, batch = captioner.start(memory), len(memory.features)
        special, device = special_of(tiny.tokenizer), memory.features.device
        decoded = sampling.decode(state, batch=batch, special=special, device=device)
    captioner.train()
    return decoded


def words_of(tiny: TinyCaptions, tokens: list[int]) -> list[str]:
    """With the end as a word, where it was reached."""
    text = tiny.tokenizer.decode(tokens)
    return [*as_captions([text], ended=[tiny.tokenizer.end in tokens])[0].words]


def log_probability(tiny: TinyCaptions, image: int, said: list[int], temperature: float) -> Tensor:
    """Of one caption, token by token, by the distribution that captions are drawn from."""
    memory = Memory(*(part[image : image + 1] for part in tiny.memory))
    tokenizer, decoder, terms = tiny.tokenizer, tiny.captioner.decoder, []
    for position, token in enumerate(said):
        before = torch.tensor([[[tokenizer.start, *said[:position]]]])
        logits = decoder.logits(decoder(before, memory)[0, 0, -1])
        allowed = torch.ones(len(tokenizer), dtype=torch.bool)
        allowed[[tokenizer.start, tokenizer.pad, tokenizer.unknown]] = False
        terms.append((logits / temperature).masked_fill(~allowed, -inf).log_softmax(-1)[token])
    return torch.stack(terms).sum()


@pytest.mark.parametrize("pairs", [False, True], ids=["words", "byte pairs"])
@pytest.mark.parametrize("baseline", ["greedy", "others"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_the_gradient_is_that_of_reinforce_written_out(own: str, pairs, baseline, temperature):
    tiny = tiny_captions(pairs=pairs)
    reward = Mixed([CiderD(), OwnReward(f"{own}.letters")], [2.0, 0.5])
    options = {"samples": 3, "baseline": baseline, "temperature": temperature}
    objective = prepared(tiny, reward=reward, **options)
    torch.manual_seed(2)
    loss = objective.loss(*tiny)
    assert tiny.captioner.decoder.training
    parameters = [tiny.memory.features, *tiny.captioner.decoder.parameters()]
    gradients = torch.autograd.grad(loss.value, parameters)

    sampling = Sampling(3, temperature, max_length=7, greedy=True)
    decoded = drawn_again(tiny, sampling, seed=2)
    human = {key: [c.words for c in as_captions(row)] for key, row in TEXTS.items()}
    stored = DocumentFrequencies.from_references([*human.values()])
    tiny.captioner.eval()
    terms, rewards = [], []
    for image, sample in enumerate(tiny.samples):
        rows = [
            row[:length]
            for row, length in zip(
                decoded.tokens[image].tolist(), decoded.lengths[image].tolist(), strict=True
            )
        ]
        said = [words_of(tiny, row) for row in rows]
        ngrams = count_ngrams(said, [human[sample.image_id]] * 4)
        letters = [tiny.tokenizer.decode(row).count("a") for row in rows]
        greedy, *drawn = (2.0 * cider_d(ngrams, stored) + 0.5 * np.array(letters)).tolist()
        for place, row in enumerate(rows[1:]):
            others = [reward for other, reward in enumerate(drawn) if other != place]
            held = greedy if baseline == "greedy" else sum(others) / 2
            terms.append(-(drawn[place] - held) * log_probability(tiny, image, row, temperature))
        rewards += drawn
    by_hand = torch.stack(terms).mean()
    assert max(rewards) > min(rewards)
    assert_close(loss.value, by_hand)
    assert_close(gradients, torch.autograd.grad(by_hand, parameters))
    assert loss.logged["reward"] == pytest.approx(sum(rewards) / 9)


def test_probabilities_are_those_that_samples_were_drawn_with():
    """On the policy: dropout of the decoder would give each pass a distribution of its own."""
    tiny = tiny_captions(dropout=0.4)
    objective, special = prepared(tiny), special_of(tiny.tokenizer)
    tiny.captioner.eval()
    decoded = drawn_again(tiny, Sampling(5, objective.temperature, max_length=7), seed=4)
    tiny.captioner.eval()
    for image, sample in [(0, 0), (1, 3), (2, 4)]:
        alone = torch.zeros(3, 5)
        alone[image, sample] = -15  # of 15 samples, whose mean is taken
        found = objective.surrogate(
            tiny.captioner, tiny.memory, *decoded[:2], alone, special=special
        )
        length = int(decoded.lengths[image, sample])
        said = decoded.tokens[image, sample, :length].tolist()
        assert_close(found, log_probability(tiny, image, said, objective.temperature))


def expected_reward(tiny: TinyCaptions, objective: SelfCritical) -> float:
    with torch.no_grad():
        torch.manual_seed(99)
        steps = [objective.loss(*tiny).logged["reward"] for _ in range(10)]
    return sum(map(float, steps)) / len(steps)


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_the_expected_reward_rises(own: str, baseline):
    tiny = tiny_captions(dropout=0.1)
    objective = prepared(tiny, reward=OwnReward(f"{own}.dogs"), baseline=baseline)
    before = expected_reward(tiny, objective)
    optimizer = torch.optim.Adam(tiny.captioner.decoder.parameters(), lr=0.02)
    for step in range(20):
        torch.manual_seed(step)
        optimizer.zero_grad()
        objective.loss(*tiny).value.backward()
        optimizer.step()
    assert expected_reward(tiny, objective) > before + 1.0


def test_what_is_logged_by_hand():
    tiny = tiny_captions()
    objective = prepared(tiny, samples=3)
    torch.manual_seed(6)
    logged = objective.loss(*tiny).logged
    decoded = drawn_again(tiny, Sampling(3, 0.5, max_length=7, greedy=True), seed=6)
    drawn = [words_of(tiny, row) for row in decoded.tokens[:, 1:].flatten(0, 1).tolist()]
    bare = [[word for word in words if word != END] for words in drawn]
    assert logged["words"] == pytest.approx(sum(map(len, bare)) / 9)
    assert logged["unfinished"] == pytest.approx(sum(END not in words for words in drawn) / 9)
    assert logged["distinct captions"] == pytest.approx(len({tuple(words) for words in bare}) / 9)
    assert {*logged} == {
        *("reward", "greedy reward", "advantage deviation", "words"),
        *("bad endings", "distinct captions", "unfinished"),
    }


def test_images_without_captions_take_no_part():
    """Joint data has images that are only asked about."""
    tiny = tiny_captions()
    objective = prepared(tiny)
    bare = tiny.samples[1]._replace(captions=())
    some = tiny._replace(samples=[tiny.samples[0], bare, tiny.samples[2]])
    fewer = tiny._replace(
        samples=[tiny.samples[0], tiny.samples[2]],
        memory=Memory(*(part[[0, 2]] for part in tiny.memory)),
    )
    losses = []
    for batch in (some, fewer):
        torch.manual_seed(3)
        losses.append(objective.loss(*batch).value)
    assert_close(*losses)
    none = objective.loss(*tiny._replace(samples=[bare] * 3))
    assert none.value.item() == 0
    assert not none.logged
    none.value.backward()


def test_it_is_described_and_made_again():
    reward = Mixed([CiderD(), OwnReward("my_rewards.short")], [1.0, 0.5])
    objective = SelfCritical(reward, 3, "others", guard=CollapseGuard(steps=9))
    again = rebuild(describe(objective), SelfCritical)
    assert describe(again) == describe(objective)
    assert again.reward == reward
    assert again.guard == CollapseGuard(steps=9)


def test_the_signature_is_there_once_the_references_are():
    tiny = tiny_captions()
    assert SelfCritical().signature == ""
    line = prepared(tiny, reward=Mixed([CiderD(), Bleu4()], [1.0, 0.5])).signature
    assert line.startswith("1*cider-d+0.5*bleu-4|refs:1-3|tok:ptb|")
    assert "|n:4|" in line
    assert "|end:word|" in line


# What is refused.


class Foreign(Reward):
    name = "foreign"

    def against(self, references):
        return lambda captions, images: np.zeros(len(captions))


def test_a_foreign_reward_is_refused_within_a_mixture_too():
    with pytest.raises(
        InputError, match=r"the reward Foreign is no class of vlm.*give .*OwnReward"
    ):
        Mixed([CiderD(), Foreign()], [1.0, 1.0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"baseline": "others", "samples": 1}, "samples=1 and baseline='others'; expected at leas"),
        ({"baseline": "mean"}, "baseline='mean'; expected 'greedy' or 'others'"),
        ({"samples": 0}, "samples=0"),
        ({"temperature": 0.0}, r"temperature=0\.0, .* in \[0\.01, 100\]"),
        ({"max_length": 0}, "max_length=0"),
        ({"reward": Foreign()}, r"the reward Foreign is no class of vlm.*give .*OwnReward"),
    ],
)
def test_options_that_cannot_be_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        SelfCritical(**options)


@pytest.mark.parametrize(("function", "images"), [("odd", "3"), ("endless", "7, 3, 11")])
def test_rewards_that_are_no_finite_numbers_are_refused(own: str, function, images):
    tiny = tiny_captions()
    objective = prepared(tiny, reward=OwnReward(f"{own}.{function}"))
    with pytest.raises(InputError, match=f"{function} is no finite number .* images {images}; "):
        objective.loss(*tiny)


@pytest.mark.parametrize("baseline", ["greedy", "others"])
def test_a_reward_that_never_differs_stops_the_training(baseline: str, own: str):
    tiny = tiny_captions()
    guard = CollapseGuard(steps=4, least_distinct=0.0, most_bad_endings=1.0)
    reward = OwnReward(f"{own}.same")
    objective = prepared(tiny, reward=reward, guard=guard, samples=3, baseline=baseline)
    for _ in range(3):
        objective.loss(*tiny)
    with pytest.raises(InputError, match="all samples earn the same as their baseline"):
        objective.loss(*tiny)


def test_a_captioner_that_says_nothing_is_refused(monkeypatch: pytest.MonkeyPatch):
    tiny = tiny_captions()
    decoder, end = tiny.captioner.decoder, tiny.tokenizer.end
    logits = decoder.logits
    silent = 1000.0 * (torch.arange(len(tiny.tokenizer)) == end)
    monkeypatch.setattr(decoder, "logits", lambda text: logits(text) + silent)
    with pytest.raises(InputError, match="all 15 samples of images 7, 3, 11 are empty"):
        prepared(tiny).loss(*tiny)
    assert decoder.training


def test_images_that_were_not_prepared_are_refused():
    tiny = tiny_captions()
    objective = SelfCritical(max_length=7)
    objective.prepare(as_samples(TEXTS)[1:], tiny.tokenizer)
    with pytest.raises(InputError, match="there are no references of images 7; prepare"):
        objective.loss(*tiny)
    with pytest.raises(InputError, match="knows no references yet; call prepare"):
        SelfCritical(max_length=7).loss(*tiny)


def test_references_of_strange_words_are_refused():
    tokenizer = tiny_captions().tokenizer
    strange = {1: ("zebra zebra on a piano", "a dog"), 2: ("the dog runs on the grass",)}
    # Of 13 words, "zebra" twice and "piano" once are strange.
    with pytest.raises(
        InputError, match=r"no token for 23% of the words .* \(zebra, piano\), more than"
    ):
        SelfCritical().prepare(as_samples(strange), tokenizer)
    few = {1: ("the dog runs on the grass and the dog runs on the zebra",)}
    with pytest.raises(InputError, match=r"no token for 15% .* \(and, zebra\)"):
        SelfCritical().prepare(as_samples(few), tokenizer)
    fewer = as_samples({1: ("the dog runs on the grass", "the dog runs on the zebra")})
    SelfCritical().prepare(fewer, tokenizer)
    untaught = [tokenizer.vocabulary["dog"]]
    with pytest.raises(InputError, match=r"no token for 25% .* \(dog, zebra\).*start from one of"):
        SelfCritical().prepare(fewer, tokenizer, untaught=untaught)


def test_samples_longer_than_the_decoder_has_positions_are_refused():
    tiny = tiny_captions()
    objective, decoding = SelfCritical(max_length=14), Sampling(max_length=5)
    with pytest.raises(InputError, match=r"objective\.max_length=14 is more than .* max_length=13"):
        CaptionTask(tiny.captioner, tiny.tokenizer, objective=objective, decoding=decoding)
    longest = replace(decoding, max_length=13)
    objective = prepared(tiny, max_length=13)
    task = CaptionTask(tiny.captioner, tiny.tokenizer, objective=objective, decoding=longest)
    assert task.loss(tiny.memory, tiny.samples).value.isfinite()
