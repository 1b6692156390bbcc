"""How fast and how large our training and decoding are, beside the usual routes in the same run.

    pip install -e ".[bench]"
    python scripts/benchmark.py                                       # every row
    python scripts/benchmark.py --only training beam --batch 8        # some of them, smaller
    python scripts/benchmark.py --growth                              # how they grow instead

A ratio says how many times ours another route is, by the median of interleaved rounds, so that a
noisy machine slows all alike, and by their range. The routes are Hugging Face's
``VisionEncoderDecoderModel`` around GPT-2 with cross-attention, the same network with the same
weights; torch's ``nn.TransformerDecoder`` of the same sizes; pycocoevalcap; and the GEMM floor,
the matrix multiplications of a training step alone, without padding or anything repeated: its
ratio is the share that they have in our step, by the kernels of our linear layers and by those
that torch chooses. Losses, captions and rewards are checked to agree
before any time is taken. Memory is what torch's allocators hold at the peak.
"""

import argparse
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version

import torch
from routes.answering import answering
from routes.growth import AXES, growth
from routes.memory import image_memory, vocabulary_memory
from routes.rewards import reward
from routes.rounds import Row, Task, times
from routes.self_critical import self_critical
from routes.sizes import REGION_WIDTH, Sizes
from routes.training import training
from routes.writing import beam_search, greedy

TIMED: dict[str, tuple[str, Callable[[Sizes], Task]]] = {
    "training": ("training step", training),
    "beam": ("beam search", beam_search),
    "greedy": ("greedy search", greedy),
    "self-critical": ("self-critical step", self_critical),
    "reward": ("CIDEr-D reward", reward),
    "vqa": ("VQA step", answering),
}
MEMORY: dict[str, Callable[[Sizes], Iterator[Row]]] = {
    "vocabulary-memory": vocabulary_memory,
    "image-memory": image_memory,
}


def rows(sizes: Sizes, regions: list[int], only: list[str], rounds: int) -> Iterator[Row]:
    """What was asked for: training at all numbers of regions, the rest at the last."""
    for chosen in only:
        for number in regions if chosen == "training" else regions[-1:]:
            at = sizes._replace(regions=number)
            if chosen in MEMORY:
                yield from MEMORY[chosen](at)
            else:
                name, task = TIMED[chosen]
                where = "" if chosen == "reward" else f", {number} regions"
                yield times(name + where, task(at), rounds=rounds, device=at.device)


def header(sizes: Sizes, rounds: int) -> str:
    """What a reader of the table has to know."""
    chip = platform.processor() or platform.machine()
    if sizes.device.type == "cuda":
        chip = torch.cuda.get_device_name(sizes.device)
    packages = [f"{name} {version(name)}" for name in ("torch", "transformers", "pycocoevalcap")]
    return (
        f"{', '.join(packages)}; {sizes.device} ({chip}), {torch.get_num_threads()} threads, "
        f"float32, no dropout\n"
        f"{sizes.images} images of {sizes.texts} captions or questions; width {sizes.width}, "
        f"{sizes.heads} heads, {sizes.layers} layers, vocabulary {sizes.vocabulary:,}, "
        f"{sizes.beams} beams,\nregions of width {REGION_WIDTH}; ours, then how many times ours: "
        f"median of {rounds} rounds [range]\n"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measures what the command line asks for."""
    usual, names = Sizes(), [*TIMED, *MEMORY]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=names, default=names, metavar="ROW", help=", ".join(names)
    )
    parser.add_argument(
        "--growth",
        nargs="*",
        choices=AXES,
        metavar="SIZE",
        help=f"how time and memory grow with {', '.join(AXES)}, in place of rows",
    )
    parser.add_argument("--batch", type=int, default=usual.images, help="images")
    parser.add_argument("--texts", type=int, default=usual.texts, help="of an image")
    parser.add_argument(
        "--regions",
        type=int,
        nargs="+",
        default=[49, usual.regions],
        help="training at each, the rest at the last",
    )
    for option in ("beams", "vocabulary", "width", "heads", "layers"):
        parser.add_argument(f"--{option}", type=int, default=getattr(usual, option))
    parser.add_argument("--rounds", type=int, default=3, help="that count, after one that does not")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=usual.device)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    sizes = Sizes(
        images=given.batch,
        texts=given.texts,
        regions=given.regions[-1],
        beams=given.beams,
        vocabulary=given.vocabulary,
        width=given.width,
        heads=given.heads,
        layers=given.layers,
        device=given.device,
    )
    print(header(sizes, given.rounds), flush=True)
    if given.growth is None:
        for row in rows(sizes, given.regions, given.only, given.rounds):
            print(*row.lines(), sep="\n", flush=True)
    else:
        for line in growth(sizes, given.growth or AXES, given.rounds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
