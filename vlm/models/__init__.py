"""The networks, in pure torch; they never see a word, a file or a config."""

from vlm.models.answer_heads import AnswerClassifier, AnswerWriter
from vlm.models.answerer import QuestionAnswerer
from vlm.models.attention import MultiHeadAttention
from vlm.models.backbone import FrozenBackbone
from vlm.models.captioner import Captioner
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import BlindEncoder, Memory, RegionEncoder
from vlm.models.imported import ImportedRegions

__all__ = [
    "AnswerClassifier",
    "AnswerWriter",
    "BlindEncoder",
    "Captioner",
    "FrozenBackbone",
    "ImportedRegions",
    "Memory",
    "MultiHeadAttention",
    "QuestionAnswerer",
    "RegionEncoder",
    "TextDecoder",
]
