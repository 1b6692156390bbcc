"""Images through a frozen backbone into a store of region features."""

from vlm.extract.extraction import Extraction
from vlm.extract.looking import geometry_of

__all__ = ["Extraction", "geometry_of"]
