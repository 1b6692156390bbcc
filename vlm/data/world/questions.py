"""Questions about scenes, chosen so that the words of a question do not tell its answer."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from vlm.data.world.annotators import ten_answers
from vlm.data.world.facts import KINDS, Fact, Sight, Variety, sight
from vlm.data.world.pairs import similar_pairs
from vlm.data.world.scene import Scene

PAIRED = ("existence", "property", "size", "number")  # the kinds whose questions have two answers


@dataclass(frozen=True)
class Question:
    """A question about a scene.

    Attributes:
        kind: one of `vlm.data.world.facts.KINDS`.
        text: in lower case, with a question mark.
        answer: the right one.
        question_type: its first words, as VQA v2 tells questions apart.
        answers: of ten people, most of whom give the right one.
    """

    kind: str
    text: str
    answer: str
    question_type: str
    answers: tuple[str, ...]

    @property
    def answer_type(self) -> str:
        """``yes/no``, ``number`` or ``other``, as in VQA v2."""
        if self.answer in ("yes", "no"):
            return "yes/no"
        return "number" if self.answer.isdecimal() else "other"


class _Candidate(NamedTuple):
    text: str
    question_type: str
    fact: Fact


def ask(scenes: Sequence[Scene]) -> list[list[Question]]:
    """One question of each kind to each scene, where the scene allows it: seven or eight.

    Similar scenes are asked the same if one answers "yes" and the other "no", as in VQA v2 (Goyal
    et al., 2017). All other questions are chosen so that each text has its possible answers
    equally often, as far as the scenes have them. So what is asked depends on all the scenes.

    Args:
        scenes: of one split; each of two objects or more.

    Returns:
        the questions of each scene.
    """
    sights, ledger = [sight(scene) for scene in scenes], _Ledger()
    asked: list[list[Question]] = [[] for _ in scenes]
    for pair in similar_pairs(scenes):
        rng = np.random.default_rng([2, *(scenes[n].seed for n in pair)])
        for kind in KINDS:
            for group in [pair] if kind in PAIRED else [(n,) for n in pair]:
                chosen = _chosen(kind, [sights[n] for n in group], ledger, rng)
                for n, one in zip(group, chosen, strict=False):  # none where nothing can be asked
                    asked[n].append(_question(kind, one, scenes[n]))
    return asked


def _question(kind: str, chosen: _Candidate, scene: Scene) -> Question:
    text, question_type, fact = chosen
    return Question(kind, text, fact.answer, question_type, ten_answers(text, fact, scene))


def _chosen(
    kind: str, sights: Sequence[Sight], ledger: "_Ledger", rng: np.random.Generator
) -> list[_Candidate]:
    """What to ask each of the scenes, now entered in the ledger; the same of both if it can be."""
    candidates = _candidates(kind, sights, rng)
    if len(candidates) == 2:
        chosen = ledger.opposite(candidates[0], candidates[1], rng)
        if chosen:
            return chosen
    return [ledger.fairest(some, rng) for some in candidates]


def _candidates(
    kind: str, sights: Sequence[Sight], rng: np.random.Generator
) -> list[list[_Candidate]]:
    """All questions to each scene in one wording of one variety that all the scenes allow."""
    left = list(KINDS[kind])
    while left:
        variety = left.pop(_drawn(left, rng))
        wording, question_type = variety.wordings[rng.integers(len(variety.wordings))]
        found = [
            [
                _Candidate(wording.format_map(fact.words), question_type, fact)
                for fact in variety.facts(seen)
            ]
            for seen in sights
        ]
        if all(found):
            return found
    return []


def _drawn(varieties: Sequence[Variety], rng: np.random.Generator) -> int:
    """The place of one of them, each as likely as its share is large."""
    totals = list(accumulate(variety.share for variety in varieties))
    return int(np.searchsorted(totals, rng.random() * totals[-1], side="right"))


class _Ledger:
    """Which texts were asked how often with which answer."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)

    def opposite(
        self, ones: list[_Candidate], others: list[_Candidate], rng: np.random.Generator
    ) -> list[_Candidate]:
        """The text asked least that two scenes answer differently; empty if there is none."""
        of_text = {one.text: one for one in ones}
        pairs = [
            (of_text[other.text], other)
            for other in others
            if other.text in of_text and of_text[other.text].fact.answer != other.fact.answer
        ]
        if not pairs:
            return []
        chances = rng.random(len(pairs)).tolist()
        costs = [self._counts[one.text].total() for one, _ in pairs]
        chosen = list(pairs[min(zip(costs, chances, range(len(pairs)), strict=True))[-1]])
        for one in chosen:
            self._counts[one.text][one.fact.answer] += 1
        return chosen

    def fairest(self, candidates: list[_Candidate], rng: np.random.Generator) -> _Candidate:
        """The candidate whose answer its text had the least often, by comparison with others.

        Where each would make an answer the most frequent one of its text, it is one of the answer
        that is the hardest to come by here: others will be found for its text.
        """
        rare = Counter(one.fact.answer for one in candidates)
        chances = rng.random(len(candidates)).tolist()
        costs = [self._cost(one.text, one.fact.answer, rare) for one in candidates]
        chosen = candidates[min(zip(costs, chances, range(len(candidates)), strict=True))[-1]]
        self._counts[chosen.text][chosen.fact.answer] += 1
        return chosen

    def _cost(self, text: str, answer: str, rare: Counter[str]) -> tuple[int, int, int]:
        counts = self._counts[text]
        others = max((times for other, times in counts.items() if other != answer), default=0)
        excess = counts[answer] - others
        return (1 + excess, rare[answer], others) if excess >= 0 else (0, excess, 0)
