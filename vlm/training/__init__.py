"""Where Lightning trains: modules, objectives, checkpoints, callbacks."""

from vlm.training.callbacks import SampleTable
from vlm.training.captioning import CaptioningModule
from vlm.training.objectives import CrossEntropy

__all__ = ["CaptioningModule", "CrossEntropy", "SampleTable"]
