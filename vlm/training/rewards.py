"""What a caption that was drawn earns: an object of SelfCritical, chosen by name in YAML."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm.errors import InputError
from vlm.formats.ids import Id
from vlm.metrics.bleu import bleu
from vlm.metrics.ngrams import count_ngrams
from vlm.metrics.reward import CiderDReward
from vlm.text.ptb import tokenize

Floats = NDArray[np.float64]
# The end of a caption as a word. A token holds no plain space, so no caption can say it.
END = "end of caption"


class Caption(NamedTuple):
    """A caption as rewards see it, of people's or drawn.

    Attributes:
        text: as written.
        words: as COCO scoring makes them, ``END`` last where the caption has come to its end.
    """

    text: str
    words: tuple[str, ...]


def as_captions(texts: Sequence[str], *, ended: Sequence[bool] | None = None) -> list[Caption]:
    """Captions of people, all ended, and captions drawn, some cut off: one tokenization for both.

    Args:
        texts: of any tokenizer.
        ended: whether each has come to its end; all have if not given.
    """
    ends = [True] * len(texts) if ended is None else ended
    rows = zip(texts, tokenize(texts), ends, strict=True)
    return [Caption(text, (*words, END) if end else (*words,)) for text, words, end in rows]


References = Mapping[Id, Sequence[Caption]]
# Captions and the image of each to what each earns.
Scorer = Callable[[Sequence[Caption], Sequence[Id]], Floats]


class Reward(ABC):
    """How good a caption is, given what people wrote about its image."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What is measured, as a signature names it."""

    @abstractmethod
    def against(self, references: References) -> Scorer:
        """What scores captions of the training images.

        Args:
            references: of every training image that has any.

        Returns:
            from ``C`` captions and ``C`` image ids, any number of an image, to ``(C,)``.
        """


def require_own_class(reward: Reward) -> None:
    """Holds that a checkpoint that names a reward can be read: it makes classes of vlm alone.

    Raises:
        InputError: if the reward is of another class.
    """
    if not type(reward).__module__.startswith("vlm."):
        raise InputError(
            f"the reward {type(reward).__name__} is no class of vlm, and no checkpoint could be "
            "read that names it; give vlm.training.OwnReward with the path of a function"
        )


@dataclass(frozen=True)
class CiderD(Reward):
    """CIDEr-D in [0, 10] (Vedantam et al. 2015, arXiv:1411.5726).

    Document frequencies and the number of images are those of the training references, whatever
    the batch. The end of a caption is a word, so that a caption cut off after "with a" earns less.
    """

    @property
    def name(self) -> str:
        """The metric's."""
        return "cider-d"

    def against(self, references: References) -> Scorer:
        """Counts the references once; a call then costs what its captions cost."""
        places = {image: place for place, image in enumerate(references)}
        counted = CiderDReward([[c.words for c in row] for row in references.values()])

        def score(captions: Sequence[Caption], images: Sequence[Id]) -> Floats:
            words = [caption.words for caption in captions]
            return counted.score(words, [places[image] for image in images])

        return score


@dataclass(frozen=True)
class Bleu4(Reward):
    """BLEU-4 of single captions in [0, 1] (Papineni et al. 2002), the end of a caption a word.

    Not smoothed but for the tiny constants of COCO scoring: a caption that shares no four words
    in a row with a reference earns next to nothing. So does the BLEU-4 that published
    self-critical trainings mix in.
    """

    @property
    def name(self) -> str:
        """The metric's."""
        return "bleu-4"

    def against(self, references: References) -> Scorer:
        """Nothing needs counting beforehand."""

        def score(captions: Sequence[Caption], images: Sequence[Id]) -> Floats:
            human = [[c.words for c in references[image]] for image in images]
            ngrams = count_ngrams([caption.words for caption in captions], human)
            return np.array([row[3] for row in bleu(ngrams).per_image])

        return score


@dataclass(frozen=True)
class OwnReward(Reward):
    """A function of one's own.

    It is given ``C`` captions and, for each, what people wrote about its image, all as text, and
    returns ``C`` numbers. It is imported when a training begins, never by a checkpoint.

    Attributes:
        function: where it stands: ``module.function``.
    """

    function: str

    @property
    def name(self) -> str:
        """Of the function."""
        return self.function

    def against(self, references: References) -> Scorer:
        """Imports the function.

        Raises:
            InputError: if there is none, or, later, it returns anything but a number a caption;
                what the function itself raises is its own.
        """
        module, _, name = self.function.rpartition(".")
        try:
            function = getattr(importlib.import_module(module), name)
            if not callable(function):
                raise TypeError(f"it is {function!r}, no function")
        except (ImportError, AttributeError, ValueError, SyntaxError, TypeError) as error:
            raise InputError(
                f"the reward {self.function!r} cannot be imported ({error}); give module.function, "
                "the module in a folder of PYTHONPATH"
            ) from error

        def score(captions: Sequence[Caption], images: Sequence[Id]) -> Floats:
            human = [[caption.text for caption in references[image]] for image in images]
            returned = function([caption.text for caption in captions], human)
            try:
                scores = np.asarray(returned)
            except (ValueError, TypeError, RuntimeError) as error:
                raise InputError(
                    f"the reward {self.function} returned what is no list of numbers ({error}); "
                    "return a number a caption"
                ) from error
            if scores.shape != (len(captions),) or scores.dtype.kind not in "bif":
                kind = scores.dtype if scores.dtype.kind in "bif" else "what is no number"
                raise InputError(
                    f"the reward {self.function} returned {kind} of shape {scores.shape} "
                    f"for {len(captions)} captions; return a number a caption"
                )
            return scores.astype(np.float64)

        return score


@dataclass(frozen=True)
class Mixed(Reward):
    """A weighted sum of rewards.

    Attributes:
        rewards: that are added up.
        weights: of each.

    Raises:
        InputError: if there is not one weight a reward, no reward, or one of no class of vlm.
    """

    rewards: list[Reward]
    weights: list[float]

    def __post_init__(self) -> None:
        if not self.rewards or len(self.rewards) != len(self.weights):
            raise InputError(
                f"Mixed was given {len(self.rewards)} rewards and {len(self.weights)} weights; "
                "give at least one reward and a weight each"
            )
        for reward in self.rewards:
            require_own_class(reward)

    @property
    def name(self) -> str:
        """Weights and names."""
        pairs = zip(self.weights, self.rewards, strict=True)
        return "+".join(f"{weight:g}*{reward.name}" for weight, reward in pairs)

    def against(self, references: References) -> Scorer:
        """All of them against the same references."""
        scorers = [reward.against(references) for reward in self.rewards]

        def score(captions: Sequence[Caption], images: Sequence[Id]) -> Floats:
            each = np.stack([scorer(captions, images) for scorer in scorers])
            return np.array(self.weights) @ each

        return score
