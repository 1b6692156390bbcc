"""Files on disk to batches; never sees a model."""

from vlm.data.augmentation import RandAugment
from vlm.data.datamodules import CaptionData
from vlm.data.store import FeatureStore

__all__ = ["CaptionData", "FeatureStore", "RandAugment"]
