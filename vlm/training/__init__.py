"""Where Lightning trains: modules, tasks, objectives, checkpoints, callbacks."""

from vlm.training.answering import AnsweringModule
from vlm.training.callbacks import SampleTable
from vlm.training.captioning import CaptioningModule
from vlm.training.collapse import CollapseGuard
from vlm.training.compiled import Compiled
from vlm.training.faithfulness import Faithfulness
from vlm.training.joint import JointModule
from vlm.training.looks import Looks
from vlm.training.module import VisionLanguageModule
from vlm.training.objectives import CrossEntropy
from vlm.training.rewards import Bleu4, CiderD, Mixed, OwnReward
from vlm.training.self_critical import SelfCritical

__all__ = [
    "AnsweringModule",
    "Bleu4",
    "CaptioningModule",
    "CiderD",
    "CollapseGuard",
    "Compiled",
    "CrossEntropy",
    "Faithfulness",
    "JointModule",
    "Looks",
    "Mixed",
    "OwnReward",
    "SampleTable",
    "SelfCritical",
    "VisionLanguageModule",
]
