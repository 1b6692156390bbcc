"""Files on disk to batches; never sees a model."""

from vlm.data.augmentation import RandAugment
from vlm.data.datamodules import CaptionData

__all__ = ["CaptionData", "RandAugment"]
