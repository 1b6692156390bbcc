"""QuestionAnswerer: a question reads itself over a memory, and one head scores all answers."""

import math

import torch
from torch import Tensor, nn

from vlm.models.captioner import require_one_width
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
from vlm.regions import RegionFeatures


class AttentionPool(nn.Module):
    """One vector a sequence: its places averaged, each by a weight that it gives itself.

    Args:
        width: ``D``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, text: Tensor, real: Tensor) -> Tensor:
        """``(B, C, L, D)`` to ``(B, C, D)``, leaving out where ``real`` ``(B, C, L)`` is False.

        A sequence without any real place gives zeros.
        """
        scores = self.score(text).squeeze(-1).masked_fill(~real, -math.inf)
        empty = ~real.any(dim=-1, keepdim=True)
        weights = scores.masked_fill(empty, 0).softmax(dim=-1).masked_fill(empty, 0)
        return (weights.unsqueeze(-1) * text.masked_fill(~real.unsqueeze(-1), 0)).sum(dim=-2)


class QuestionAnswerer(nn.Module):
    """Scores every answer of a vocabulary for every question about an image.

    The decoder of captions reads the question, in both directions, while it queries the image;
    the memory of an image is made once for all its questions.

    Args:
        encoder: regions to memory.
        decoder: reads questions over a memory.
        answers: how many there are to choose from, ``A``.
        dropout: before the last layer, in [0, 1).

    Raises:
        InputError: if the memory's width is not the decoder's.
    """

    def __init__(
        self,
        encoder: RegionEncoder | BlindEncoder,
        decoder: TextDecoder,
        answers: int,
        *,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        require_one_width(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.answers = answers
        self.dropout = dropout
        self.pool = AttentionPool(decoder.width)
        self.classify = nn.Sequential(
            nn.Linear(decoder.width, 2 * decoder.width),
            nn.GELU(),
            nn.LayerNorm(2 * decoder.width),
            nn.Dropout(dropout),
            nn.Linear(2 * decoder.width, answers),
        )

    def encode(self, regions: RegionFeatures) -> Memory:
        """The memory of a batch of images."""
        return self.encoder(regions)

    def forward(self, regions: RegionFeatures, questions: Tensor, real: Tensor) -> Tensor:
        """Unnormalised scores of all answers.

        Args:
            regions: of ``B`` images.
            questions: ``(B, C, L)`` ids, start token first, padding last.
            real: ``(B, C, L)``, False where a question pads; all of it for one that is not there.

        Returns:
            ``(B, C, A)``, of which a sigmoid each is how right an answer is.
        """
        text = self.decoder.read(questions, self.encode(regions), real=real)
        return self.classify(self.pool(text, real))


def soft_answer_loss(logits: Tensor, targets: Tensor, there: Tensor) -> Tensor:
    """Binary cross-entropy with soft targets, summed over answers, mean over questions.

    Teney et al. 2018 (arXiv:1708.02711, section 3.6).

    Args:
        logits: ``(B, C, A)``.
        targets: ``(B, C, A)``, in [0, 1].
        there: ``(B, C)``, False where an image has fewer questions than others.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return losses.sum(dim=-1)[there].mean() if there.any() else losses.sum() * torch.zeros(())
