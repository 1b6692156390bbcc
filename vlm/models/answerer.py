"""QuestionAnswerer: a region encoder, a text decoder that reads questions, a head that answers."""

from torch import Tensor, nn

from vlm.models.answer_heads import AnswerHead
from vlm.models.captioner import require_one_width
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
from vlm.regions import RegionFeatures


class QuestionAnswerer(nn.Module):
    """Scores every answer of a vocabulary for every question about an image.

    The decoder of captions reads the question, in both directions, while it queries the image;
    the memory of an image is made once for all its questions.

    Args:
        encoder: regions to memory.
        decoder: reads questions over a memory.
        head: scores answers.

    Raises:
        InputError: if the memory's width is not the decoder's.
    """

    def __init__(
        self, encoder: RegionEncoder | BlindEncoder, decoder: TextDecoder, head: AnswerHead
    ) -> None:
        super().__init__()
        require_one_width(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.head = head

    def encode(self, regions: RegionFeatures) -> Memory:
        """The memory of a batch of images."""
        return self.encoder(regions)

    def forward(self, memory: Memory, questions: Tensor, real: Tensor) -> Tensor:
        """Scores ``(B, C, A)`` of all answers to questions ``(B, C, L)`` about a memory."""
        return self.head(self.decoder, memory, questions, real)

    def loss(self, memory: Memory, questions: Tensor, real: Tensor, targets: Tensor) -> Tensor:
        """The head's loss, with targets ``(B, C, A)`` in [0, 1]."""
        return self.head.loss(self.decoder, memory, questions, real, targets)
