"""Our side of what is trained: the objectives that users run."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from routes.sizes import LONGEST, PAD, UNKNOWN, Sizes
from vlm.models.captioner import Captioner
from vlm.models.encoder import Memory
from vlm.text.tokenizer import CaptionTokenizer, WordVocabulary
from vlm.training.objectives import CrossEntropy
from vlm.training.self_critical import SelfCritical

SAMPLES = 5


class Described(NamedTuple):
    """An image as an objective sees it."""

    image_id: int
    captions: list[str]


def cross_entropy(captioner: Captioner, memory: Memory, tokens: Tensor) -> Tensor:
    """Of captions ``(B, C, L)``, start token first, padded."""
    objective = CrossEntropy(label_smoothing=0.0)
    return objective.of_tokens(captioner, memory, tokens, ignored=(PAD, UNKNOWN))


def self_critical_of(
    sizes: Sizes, references: Sequence[Sequence[Sequence[str]]]
) -> tuple[SelfCritical, Callable[[Captioner, Memory], Tensor]]:
    """The objective, rewarding by references in words, and what a batch of them costs."""
    objective = SelfCritical(samples=SAMPLES, temperature=1.0, max_length=LONGEST)
    samples = [
        Described(image, [" ".join(words) for words in captions])
        for image, captions in enumerate(references)
    ]
    tokenizer = _tokenizer_of(sizes.vocabulary)
    objective.prepare(samples, tokenizer)

    def loss(captioner: Captioner, memory: Memory) -> Tensor:
        return objective.loss(captioner, memory, samples[: sizes.images], tokenizer).value

    return objective, loss


def _tokenizer_of(vocabulary: int) -> CaptionTokenizer:
    """One that has so many words, ``w4`` and so on as :func:`routes.rewards.spelled` has them."""
    words = [f"w{token}" for token in range(UNKNOWN + 1, vocabulary)]
    return WordVocabulary(min_count=1).train([" ".join(words)])
