"""SelfCritical: captions are drawn, and what scored well becomes more probable (SCST)."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vlm.decoding import Sampling, SpecialTokens
from vlm.errors import InputError
from vlm.formats.ids import Id, shown
from vlm.metrics.health import health
from vlm.metrics.signature import reward_signature
from vlm.models.captioner import Captioner
from vlm.models.cross_entropy import linear_cross_entropy
from vlm.models.encoder import Memory
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training.collapse import CollapseGuard, Watch
from vlm.training.objectives import Loss, Objective, nothing
from vlm.training.rewards import (
    END,
    Caption,
    CiderD,
    Floats,
    References,
    Reward,
    Scorer,
    as_captions,
    require_own_class,
)

MOST_UNKNOWN = 0.1  # of the references' words; beyond it most captions hold one


@dataclass(eq=False)
class SelfCritical(Objective):
    """Raises the expected reward of captions that the captioner draws itself (SCST).

    The gradient is that of REINFORCE with a baseline (Williams 1992; Rennie et al. 2017,
    arXiv:1612.00563): the mean over samples of ``-(reward - baseline) * log p(sample)``, where
    ``log p`` is summed over the sample's tokens, the end included, not averaged. Only so is it an
    unbiased gradient of the expected reward.

    Samples and the greedy caption come from one decoding over the detached memory; then the
    samples are read once, teacher-forced, with gradients. Both passes see one distribution: the
    encoder's memory is the same, the decoder drops nothing out in either, and start, padding and
    unknown are as impossible in ``log p`` as they are in the draw, at the same temperature. With
    dropout in one of them, ``log p`` would be another policy's than the one that was drawn from.

    It goes on from a captioner that cross-entropy has taught (``--start``); from nothing, no
    sample earns anything.

    Attributes:
        reward: of a caption.
        samples: captions drawn an image, at least 1, for ``others`` at least 2.
        baseline: what a reward is held against: ``greedy``, that of the image's greedy caption
            (Rennie et al. 2017), or ``others``, the mean of the image's other samples (Luo 2020,
            arXiv:2003.09971).
        temperature: that samples are drawn at, and their ``log p`` taken at, in [0.01, 100].
            Cross-entropy with label smoothing leaves a share of the probability to words that
            make no sense; at 1 most samples hold one, and the greedy caption gets worse while
            they get better. Below 1 they are rare.
        max_length: most tokens of a sample, end included, at least 1.
        guard: what stops the training when the captioner falls apart.

    Raises:
        InputError: if an option is out of its range, or the reward is not of a class of vlm.
    """

    reward: Reward = field(default_factory=CiderD)
    samples: int = 5
    baseline: Literal["greedy", "others"] = "greedy"
    temperature: float = 0.5
    max_length: int = 20
    guard: CollapseGuard = field(default_factory=CollapseGuard)

    def __post_init__(self) -> None:
        if self.baseline == "others" and self.samples < 2:
            raise InputError(
                f"SelfCritical was given samples={self.samples} and baseline='others'; expected "
                "at least 2, as one sample has no others"
            )
        if self.baseline not in ("greedy", "others"):
            raise InputError(
                f"SelfCritical was given baseline={self.baseline!r}; expected 'greedy' or 'others'"
            )
        require_own_class(self.reward)
        self._sampling = Sampling(
            self.samples, self.temperature, max_length=self.max_length, greedy=True
        )
        self._references: References = {}
        self._scorer: Scorer | None = None

    def prepare(
        self,
        samples: Sequence[Any],
        tokenizer: CaptionTokenizer,
        *,
        untaught: Collection[int] = (),
    ) -> None:
        """Counts the references of all training images, and makes the signature.

        Raises:
            InputError: if the tokenizer cannot write the references.
        """
        texts = {sample.image_id: sample.captions for sample in samples if sample.captions}
        captions = iter(as_captions([text for row in texts.values() for text in row]))
        self._references = {key: [next(captions) for _ in row] for key, row in texts.items()}
        _require_words(self._references, tokenizer, {tokenizer.unknown, *untaught})
        self._scorer = self.reward.against(self._references)
        self._watch = Watch(self.guard)
        self.signature = reward_signature([self.reward.name], texts)

    def loss(
        self,
        captioner: Captioner,
        memory: Memory,
        samples: Sequence[Any],
        tokenizer: CaptionTokenizer,
    ) -> Loss:
        """One step's; images without a caption, which joint data has, take no part.

        Raises:
            InputError: if the rewards are no numbers or no sample has a word, people wrote
                nothing about an image, or the guard finds that the training has collapsed.
        """
        rows = [row for row, sample in enumerate(samples) if sample.captions]
        if not rows:
            return Loss(nothing(memory, captioner.decoder))
        memory = Memory(*(part[rows] for part in memory))
        images = [samples[row].image_id for row in rows]
        special = SpecialTokens(tokenizer.start, tokenizer.end, tokenizer.pad, tokenizer.unknown)
        with _whole(captioner.decoder):
            tokens, lengths = self._draw(captioner, memory, special)
            ended = (tokens == special.end).any(dim=-1)
            texts = [tokenizer.decode(row) for row in tokens.flatten(0, 1).tolist()]
            captions = as_captions(texts, ended=ended.flatten().tolist())
            rewards = torch.from_numpy(self._rewards(captions, images)).view(ended.shape)
            advantages = self._advantages(rewards).to(memory.features)
            drawn = tokens[:, 1:], lengths[:, 1:]
            value = self.surrogate(captioner, memory, *drawn, advantages, special=special)
        numbers = _numbers(captions, ended, rewards, advantages)
        if not value.isfinite():
            raise InputError(
                f"the loss of images {shown(images)} is no finite number; the captioner has "
                "diverged: start from its last checkpoint with a lower model.learning_rate"
            )
        self._watch.see(numbers)
        return Loss(value, numbers)

    @torch.no_grad()
    def _draw(
        self, captioner: Captioner, memory: Memory, special: SpecialTokens
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``(B, 1 + S, L)`` of the greedy caption and of the samples, and their lengths."""
        decoded = self._sampling.decode(
            captioner.start(memory),
            batch=len(memory.features),
            special=special,
            device=memory.features.device,
        )
        return decoded.tokens, decoded.lengths

    def surrogate(
        self,
        captioner: Captioner,
        memory: Memory,
        tokens: Tensor,
        lengths: Tensor,
        advantages: Tensor,
        *,
        special: SpecialTokens,
    ) -> Tensor:
        """The mean over samples of ``-advantage * log p``, ``p`` being what they were drawn from.

        Args:
            captioner: that drew them.
            memory: with gradients.
            tokens: ``(B, S, L)``.
            lengths: ``(B, S)``.
            advantages: ``(B, S)``.
            special: which tokens are impossible.
        """
        real = torch.arange(tokens.shape[-1], device=tokens.device) < lengths.unsqueeze(-1)
        inputs = functional.pad(tokens[..., :-1], (1, 0), value=special.start)
        hidden = captioner.decoder(inputs, memory, real=real)
        weights = (advantages / advantages.numel()).unsqueeze(-1).expand_as(real)
        return linear_cross_entropy(
            hidden[real] / self.temperature,
            captioner.decoder.token_embedding.weight,
            tokens[real],
            weights[real],
            impossible=special.never,
        )

    def _rewards(self, captions: Sequence[Caption], images: Sequence[Id]) -> Floats:
        """Of ``1 + S`` captions an image, one image's after another's."""
        if self._scorer is None:
            raise InputError("SelfCritical knows no references yet; call prepare before the loss")
        strange = [image for image in images if image not in self._references]
        if strange:
            raise InputError(
                f"there are no references of images {shown(strange)}; prepare the objective with "
                "all images of the training"
            )
        rows = len(captions) // len(images)
        drawn = [caption for place, caption in enumerate(captions) if place % rows]
        if not any(caption.text for caption in drawn):
            raise InputError(
                f"all {len(drawn)} samples of images {shown(images)} are empty; the captioner says "
                "nothing: start from a checkpoint of cross-entropy or lower model.learning_rate"
            )
        each = [image for image in images for _ in range(rows)]
        rewards = self._scorer(captions, each)
        odd = dict.fromkeys(each[place] for place in np.flatnonzero(~np.isfinite(rewards)))
        if odd:
            raise InputError(
                f"the reward {self.reward.name} is no finite number for captions of images "
                f"{shown([*odd])}; correct the reward"
            )
        return rewards

    def _advantages(self, rewards: Tensor) -> Tensor:
        """``(B, S)``: rewards ``(B, 1 + S)`` of the samples less their baselines.

        Exactly 0 where all of an image's samples earn the same, whatever rounding says.
        """
        drawn = rewards[:, 1:]
        if self.baseline == "greedy":
            return drawn - rewards[:, :1]
        others = (drawn.sum(dim=1, keepdim=True) - drawn) / (self.samples - 1)
        same = (drawn == drawn[:, :1]).all(dim=1, keepdim=True)
        return (drawn - others).masked_fill(same, 0.0)


@contextmanager
def _whole(decoder: nn.Module) -> Iterator[None]:
    """A decoder that drops nothing out."""
    training = decoder.training
    decoder.eval()
    try:
        yield
    finally:
        decoder.train(training)


def _numbers(
    captions: Sequence[Caption], ended: Tensor, rewards: Tensor, advantages: Tensor
) -> Mapping[str, float]:
    """What is logged of a step; all but the greedy reward and the bad endings is of samples."""
    rows = ended.shape[1]
    words = [[word for word in caption.words if word != END] for caption in captions]
    drawn = [row for place, row in enumerate(words) if place % rows]
    return {
        "reward": rewards[:, 1:].mean().item(),
        "greedy reward": rewards[:, 0].mean().item(),
        "advantage deviation": advantages.square().mean().sqrt().item(),
        "words": sum(map(len, drawn)) / len(drawn),
        "bad endings": health(words[::rows], vocabulary=None).bad_endings,
        "distinct captions": len(set(map(tuple, drawn))) / len(drawn),
        "unfinished": 1 - ended[:, 1:].float().mean().item(),
    }


def _require_words(references: References, tokenizer: CaptionTokenizer, strange: set[int]) -> None:
    """Holds that a captioner can write most words of the references.

    Raises:
        InputError: naming the most frequent ones that it cannot.
    """
    counts = Counter(
        word for row in references.values() for caption in row for word in caption.words[:-1]
    )
    spelled = zip(counts, tokenizer.encode([*counts], max_length=10**6), strict=True)
    lacking = {word for word, ids in spelled if strange & {*ids}}
    share = sum(counts[word] for word in lacking) / max(1, counts.total())
    if share > MOST_UNKNOWN:
        examples = [word for word, _ in counts.most_common() if word in lacking]
        raise InputError(
            f"the captioner, or the checkpoint it starts from, has no token for {share:.0%} of the "
            f"words of the references ({shown(examples)}), more than {MOST_UNKNOWN:.0%}; start "
            "from one of cross-entropy on such captions, or lower data.vocabulary.min_count"
        )
