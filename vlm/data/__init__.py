"""Files on disk to batches; never sees a model."""

from vlm.data.asked import VQAData
from vlm.data.augmentation import RandAugment
from vlm.data.captioned import CaptionData
from vlm.data.joint import JointData
from vlm.data.store import FeatureStore

__all__ = ["CaptionData", "FeatureStore", "JointData", "RandAugment", "VQAData"]
