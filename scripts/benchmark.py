"""How fast training steps and beam search are, beside two common routes in the same run.

The routes: Hugging Face's GPT-2 with cross-attention (``forward`` and ``generate``), the same
network with the same weights, and torch's ``nn.TransformerDecoder``, the same sizes. They do
what is usual: a memory repeated for every caption, padded captions, logits for every position.
Rounds are interleaved, so that a noisy machine slows all routes alike; losses and captions of
the two that share weights are checked to agree.

A VQA step trains a whole question answerer on 5 questions an image, as many tokens long as
those of VQA v2 are (``QUESTION_LENGTHS``: 8.3 on average, start and end included): the features
projected with their boxes, the questions read, pooled and classified over 3,129 answers, binary
cross-entropy with soft targets. GPT-2 stands in for the decoder, with copies of everything
around it; it is given the mask of both directions, in which ours reads, so that the two
compute one loss.

    python scripts/benchmark.py --threads 1
"""

import argparse
import copy
import platform
import statistics
from collections.abc import Callable
from importlib.metadata import version
from time import perf_counter
from typing import NamedTuple

import torch
from huggingface import gpt2_beams, gpt2_loss, gpt2_of, gpt2_reading, words
from make_parity_golden import fill
from torch import Tensor, nn
from torch.nn import functional

from vlm.decoding import BeamSearch, SpecialTokens
from vlm.models.answer_heads import AnswerClassifier, soft_answer_loss
from vlm.models.answerer import QuestionAnswerer
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import Memory, RegionEncoder
from vlm.models.writing import WritingState
from vlm.regions import RegionFeatures

WIDTH, HEADS, LAYERS, VOCABULARY, POSITIONS = 512, 8, 3, 10_000, 32
REGION_WIDTH, CAPTIONS = 768, 5
WORDS_MEAN, WORDS_DEVIATION = 10.5, 2.3  # of COCO's captions
QUESTIONS, ANSWERS = 5, 3129  # an image; in the vocabulary
# Of a hundred questions of VQA v2, how many have so many tokens, start and end included; the
# one per cent longer than 14 is taken as 16.
QUESTION_LENGTHS = {5: 3, 6: 11, 7: 26, 8: 19, 9: 20, 10: 10, 11: 5, 12: 3, 13: 1, 14: 1, 16: 1}
SPECIAL = SpecialTokens(start=0, end=2, pad=1)
SEARCH = BeamSearch(beams=5, max_length=20)

Route = Callable[[], None]


class Samples(NamedTuple):
    """Features ``(B, N, region width)`` and captions ``(B, C, L)``."""

    features: Tensor
    tokens: Tensor


class Asked(NamedTuple):
    """Regions of ``B`` images, questions ``(B, C, L)``, how right each answer is ``(B, C, A)``."""

    regions: RegionFeatures
    questions: Tensor
    real: Tensor
    targets: Tensor


class TorchDecoder(nn.Module):
    """The sizes of our decoder, out of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        layer = nn.TransformerDecoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerDecoder(layer, LAYERS, nn.LayerNorm(WIDTH))

    def loss(self, tokens: Tensor, memory: Memory) -> Tensor:
        """Mean cross-entropy of captions ``(B, C, L)``, each a row of its own."""
        repeated = memory.features.repeat_interleave(tokens.shape[1], dim=0)
        rows = tokens.flatten(0, 1)
        length = rows.shape[1] - 1
        text = self.words(rows[:, :-1]) + self.positions.weight[:length]
        causal = nn.Transformer.generate_square_subsequent_mask(length, rows.device)
        text = self.layers(text, repeated, tgt_mask=causal, tgt_is_causal=True)
        logits = functional.linear(text, self.words.weight)
        return functional.cross_entropy(
            logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=SPECIAL.pad
        )


def decoder_of_captions() -> TextDecoder:
    """A decoder whose captions differ by image and end after some ten words."""
    decoder = TextDecoder(
        VOCABULARY, width=WIDTH, layers=LAYERS, heads=HEADS, max_length=POSITIONS, dropout=0.0
    )
    fill(decoder)
    with torch.no_grad():  # later positions are ever closer to the end
        lateness = 1.0 * torch.arange(POSITIONS).unsqueeze(1)
        decoder.position_embedding.weight += lateness * decoder.token_embedding.weight[SPECIAL.end]
    return decoder


def samples(images: int, regions: int, device: torch.device) -> Samples:
    """Random features, and captions of the lengths that people write."""
    generator = torch.Generator().manual_seed(images * regions)
    features = torch.randn(images, regions, REGION_WIDTH, generator=generator)
    lengths = WORDS_MEAN + WORDS_DEVIATION * torch.randn(images, CAPTIONS, 1, generator=generator)
    lengths = lengths.round().clamp(5, POSITIONS - 2).long()
    positions = torch.arange(int(lengths.max()) + 2)
    tokens = torch.randint(
        3, VOCABULARY, (images, CAPTIONS, len(positions)), generator=generator
    ).where(positions <= lengths, SPECIAL.pad)
    tokens[(positions == lengths + 1).expand_as(tokens)] = SPECIAL.end
    tokens[..., 0] = SPECIAL.start
    return Samples(features.to(device), tokens.to(device))


def asked(images: int, regions: int, device: torch.device) -> Asked:
    """Random features and boxes, and questions of the lengths that people ask.

    Three answers of each are right, by 0.3, 0.6 and 1: as if one, two and four or more of ten
    people had given them.
    """
    generator = torch.Generator().manual_seed(images * regions)
    features = torch.randn(images, regions, REGION_WIDTH, generator=generator)
    corners = torch.rand(images, regions, 2, 2, generator=generator).sort(dim=2).values
    there = torch.ones(images, regions, dtype=torch.bool)
    shares = torch.tensor([*QUESTION_LENGTHS.values()], dtype=torch.float)
    drawn = shares.multinomial(images * QUESTIONS, replacement=True, generator=generator)
    lengths = torch.tensor([*QUESTION_LENGTHS])[drawn].view(images, QUESTIONS, 1)
    positions = torch.arange(int(lengths.max()))
    shape = (images, QUESTIONS, len(positions))
    tokens = torch.randint(3, VOCABULARY, shape, generator=generator)
    real = positions < lengths
    tokens[(positions == lengths - 1).expand_as(tokens)] = SPECIAL.end
    tokens[..., 0] = SPECIAL.start
    targets = torch.zeros(images, QUESTIONS, ANSWERS)
    right = torch.randint(ANSWERS, (images, QUESTIONS, 3), generator=generator)
    targets.scatter_(2, right, torch.tensor([0.3, 0.6, 1.0]).expand(right.shape))
    parts = (features, corners.flatten(2), there, tokens.where(real, SPECIAL.pad), real, targets)
    features, boxes, there, tokens, real, targets = (part.to(device) for part in parts)
    return Asked(RegionFeatures(features, boxes, there), tokens, real, targets)


def our_loss(decoder: TextDecoder, tokens: Tensor, memory: Memory) -> Tensor:
    """Mean cross-entropy; padding is neither read nor predicted."""
    targets = tokens[..., 1:]
    real = targets != SPECIAL.pad
    hidden = decoder(tokens[..., :-1], memory, real=real)
    return functional.cross_entropy(decoder.logits(hidden[real]), targets[real])


def training_routes(images: int, regions: int, device: torch.device) -> dict[str, Route]:
    """Forward, backward and AdamW, each route with a projection of the features of its own."""
    batch = samples(images, regions, device)
    real = torch.ones(images, regions, dtype=torch.bool, device=device)
    decoder = decoder_of_captions().to(device)
    gpt2, usual = gpt2_of(decoder).to(device), TorchDecoder().to(device)
    losses: dict[str, Callable[[Memory], Tensor]] = {
        "ours": lambda memory: our_loss(decoder, batch.tokens, memory),
        "GPT-2": lambda memory: gpt2_loss(gpt2, batch.tokens, memory, pad=SPECIAL.pad),
        "nn.TransformerDecoder": lambda memory: usual.loss(batch.tokens, memory),
    }
    projection = nn.Linear(REGION_WIDTH, WIDTH).to(device)
    memory = Memory(projection(batch.features).detach(), real)
    torch.testing.assert_close(losses["ours"](memory), losses["GPT-2"](memory), rtol=0, atol=1e-4)

    def route(name: str, model: nn.Module) -> Route:
        project = nn.Linear(REGION_WIDTH, WIDTH).to(device)
        optimiser = torch.optim.AdamW([*model.parameters(), *project.parameters()], fused=True)

        def step() -> None:
            optimiser.zero_grad()
            losses[name](Memory(project(batch.features), real)).backward()
            optimiser.step()

        return step

    models = zip(losses, (decoder, gpt2, usual), strict=True)
    return {name: route(name, model) for name, model in models}


def answering_routes(images: int, regions: int, device: torch.device) -> dict[str, Route]:
    """Forward, backward and AdamW of a question answerer; both routes have the same loss."""
    batch = asked(images, regions, device)
    head = AnswerClassifier(WIDTH, torch.zeros(ANSWERS, 2), dropout=0.0)  # only counts them
    decoder = TextDecoder(
        VOCABULARY, width=WIDTH, layers=LAYERS, heads=HEADS, max_length=POSITIONS, dropout=0.0
    )
    fill(decoder)
    encoder = RegionEncoder(REGION_WIDTH, width=WIDTH, layers=0, heads=HEADS, dropout=0.0)
    answerer = QuestionAnswerer(encoder, decoder, head).to(device)
    gpt2, project, choose = gpt2_of(decoder).to(device), copy.deepcopy(encoder), copy.deepcopy(head)

    def ours() -> Tensor:
        memory = answerer.encode(batch.regions)
        return answerer.loss(memory, batch.questions, batch.real, batch.targets)

    def theirs() -> Tensor:
        hidden = gpt2_reading(gpt2, batch.questions, project(batch.regions), real=batch.real)
        scores = choose.classify(choose.pool(hidden, batch.real))
        return soft_answer_loss(scores, batch.targets, batch.real.any(dim=-1))

    torch.testing.assert_close(ours(), theirs(), rtol=1e-6, atol=0)

    def route(loss: Callable[[], Tensor], *models: nn.Module) -> Route:
        parameters = [parameter for model in models for parameter in model.parameters()]
        optimiser = torch.optim.AdamW(parameters, fused=True)

        def step() -> None:
            optimiser.zero_grad()
            loss().backward()
            optimiser.step()

        return step

    return {"ours": route(ours, answerer), "GPT-2": route(theirs, project, gpt2, choose)}


def decoding_routes(images: int, regions: int, device: torch.device) -> dict[str, Route]:
    """Beam search; both routes must write the same captions, every time."""
    decoder = decoder_of_captions().to(device).eval()
    gpt2 = gpt2_of(decoder)
    features = samples(images, regions, device).features[..., :WIDTH].contiguous()
    memory = Memory(features, torch.ones(features.shape[:2], dtype=torch.bool, device=device))
    expected = gpt2_beams(gpt2, memory, SEARCH, special=SPECIAL)

    @torch.inference_mode()
    def ours() -> None:
        state = WritingState(decoder, decoder.project(memory))
        decoded = SEARCH.decode(state, batch=images, special=SPECIAL, device=device)
        check([words(row, SPECIAL) for row in decoded.tokens[:, 0].tolist()])

    def check(captions: list[list[int]]) -> None:
        if captions != expected:
            raise SystemExit("the captions of ours and of GPT-2 differ, so no time is comparable")

    lengths = [len(caption) for caption in expected]
    different = len({tuple(caption) for caption in expected})
    print(f"captions of {min(lengths)} to {max(lengths)} words, {different} different ones")
    return {
        "ours": ours,
        "GPT-2": lambda: check(gpt2_beams(gpt2, memory, SEARCH, special=SPECIAL)),
    }


def measure(routes: dict[str, Route], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of every route in every round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    for _ in range(rounds + 1):
        for name, route in routes.items():
            before = perf_counter()
            route()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            seconds[name].append(perf_counter() - before)
    return {name: times[1:] for name, times in seconds.items()}


def report(task: str, seconds: dict[str, list[float]]) -> None:
    """One line a route: its median time, and how many times slower than ours it was."""
    for name, times in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(times, seconds["ours"], strict=True)]
        spread = f"{statistics.median(ratios):5.2f}x [{min(ratios):.2f}..{max(ratios):.2f}]"
        print(f"{task:27} {name:22} {1000 * statistics.median(times):9.0f} ms {spread}", flush=True)


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=8, help="images a training step")
    parser.add_argument("--vqa-batch", type=int, default=32, help="images a step of questions")
    parser.add_argument("--beam-batch", type=int, default=32, help="images decoded at once")
    parser.add_argument("--regions", type=int, nargs="+", default=[49, 196])
    parser.add_argument("--rounds", type=int, default=3, help="that count, after one that does not")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    chip = platform.processor() or platform.machine()
    if given.device.type == "cuda":
        chip = torch.cuda.get_device_name(given.device)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    print(f"{packages}; {given.device} ({chip}), {given.threads} threads, float32, no dropout")
    print(f"{given.batch} images of {CAPTIONS} captions a training step, {given.vqa_batch} images")
    print(f"of {QUESTIONS} questions a VQA step, {given.beam_batch} images decoded at once;")
    print(f"{given.rounds} rounds: median time, how many times ours, [range]")
    for regions in given.regions:
        for task, make, images in (
            ("training step", training_routes, given.batch),
            ("VQA step", answering_routes, given.vqa_batch),
            ("beam 5", decoding_routes, given.beam_batch),
        ):
            routes = make(images, regions, given.device)
            report(f"{task}, {regions} regions", measure(routes, given.rounds, given.device))


if __name__ == "__main__":
    main()
