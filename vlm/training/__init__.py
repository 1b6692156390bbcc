"""Where Lightning trains: modules, tasks, objectives, checkpoints, callbacks."""

from vlm.training.answering import AnsweringModule
from vlm.training.callbacks import SampleTable
from vlm.training.captioning import CaptioningModule
from vlm.training.faithfulness import Faithfulness
from vlm.training.joint import JointModule
from vlm.training.looks import Looks
from vlm.training.module import VisionLanguageModule
from vlm.training.objectives import CrossEntropy

__all__ = [
    "AnsweringModule",
    "CaptioningModule",
    "CrossEntropy",
    "Faithfulness",
    "JointModule",
    "Looks",
    "SampleTable",
    "VisionLanguageModule",
]
