"""CIDEr-D of sampled captions as a reward, against document frequencies counted beforehand."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from pycocoevalcap.cider.cider_scorer import CiderScorer
from torch import Tensor

from routes.rounds import OURS, Task
from routes.sizes import END, PAD, START, Sizes, captions_of, seeded
from vlm.metrics.cider import DocumentFrequencies
from vlm.metrics.reward import CiderDReward

Words = list[str]

CORPUS = 1000  # images that document frequencies are counted on
KEPT = 0.6  # share of a person's words that a made-up candidate repeats


class OfficialReward:
    """pycocoevalcap's scorer, given document frequencies that were counted beforehand.

    Args:
        references: of every image, in words.
        frequencies: of a whole corpus.
    """

    def __init__(
        self, references: Sequence[Sequence[Words]], frequencies: DocumentFrequencies
    ) -> None:
        self._references = [[" ".join(words) for words in captions] for captions in references]
        self._frequencies = defaultdict(float, frequencies.images)
        self._size = frequencies.corpus_size

    def score(self, candidates: Sequence[Words], images: Sequence[int]) -> np.ndarray:
        """CIDEr-D of each candidate, which meets the references of its image."""
        scorer = CiderScorer()
        scorer.document_frequency = self._frequencies
        scorer.crefs = _OfManyImages(self._size)
        for words, image in zip(candidates, images, strict=True):
            scorer += (" ".join(words), self._references[image])
        return np.array(scorer.compute_cider())


class _OfManyImages(list):
    """The scorer's references: it takes their number for that of the images that were counted."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self._images = images

    def __len__(self) -> int:
        return self._images


class Rewards(NamedTuple):
    """The same reward by both routes, over images of which a batch has the first."""

    ours: CiderDReward
    official: OfficialReward
    references: list[list[Words]]


def rewards_of(sizes: Sizes) -> Rewards:
    """Of made-up references, ``sizes.texts`` an image."""
    references = spelled(captions_of(sizes._replace(images=max(CORPUS, sizes.images))).tokens)
    frequencies = DocumentFrequencies.from_references(references)
    return Rewards(
        CiderDReward(references, frequencies=frequencies),
        OfficialReward(references, frequencies),
        references,
    )


def spelled(tokens: Tensor) -> list[list[Words]]:
    """Ids ``(B, C, L)`` as words, those that are none left out."""
    silent = {START, END, PAD}
    return [
        [[f"w{token}" for token in row if token not in silent] for row in rows]
        for rows in tokens.tolist()
    ]


def advantages(drawn: Tensor, greedy: Tensor, reward: CiderDReward | OfficialReward) -> Tensor:
    """Rewards ``(B, C)`` of captions ``(B, C, L)`` less that of ``(B, 1, L)``, in one call."""
    captions = [[*own, *best] for own, best in zip(spelled(drawn), spelled(greedy), strict=True)]
    images = [image for image, rows in enumerate(captions) for _ in rows]
    scores = reward.score([words for rows in captions for words in rows], images)
    scores = torch.from_numpy(scores).view(len(captions), -1)
    return (scores[:, :-1] - scores[:, -1:]).float().to(drawn.device)


def reward(sizes: Sizes) -> Task:
    """The reward of as many samples an image as it has references, and of one caption more."""
    rewards = rewards_of(sizes)
    candidates, images = _candidates(rewards.references[: sizes.images])
    scores = rewards.ours.score(candidates, images)
    difference = np.abs(scores - rewards.official.score(candidates, images)).max()
    if difference > 1e-12:
        raise SystemExit(f"the rewards differ by {difference:.1e}, so no time is comparable")
    routes = {
        OURS: lambda: rewards.ours.score(candidates, images),
        "pycocoevalcap": lambda: rewards.official.score(candidates, images),
    }
    note = f"{len(candidates)} captions, CIDEr-D {100 * scores.mean():.0f}, equal to 1e-12"
    return Task(routes, note)


def _candidates(references: list[list[Words]]) -> tuple[list[Words], list[int]]:
    """People's captions with some of their words exchanged for those of another image."""
    candidates, images, generator = [], [], seeded()
    for image, captions in enumerate(references):
        others = [word for words in references[image - 1] for word in words]
        for words in [*captions, captions[0]]:
            kept = (torch.rand(len(words), generator=generator) < KEPT).tolist()
            pairs = zip(words, others, kept, strict=False)
            candidates.append([own if keep else other for own, other, keep in pairs])
            images.append(image)
    return candidates, images
