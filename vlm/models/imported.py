"""ImportedRegions: what stands in a backbone's place when somebody else's saw the images."""

import hashlib
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from vlm.errors import InputError
from vlm.regions import RegionFeatures


class ImportedRegions(nn.Module):
    """Regions that come from a store of ``vlm import`` alone; it cannot look at a photo.

    Args:
        name: that the store was given when it was imported.
        width: of its regions, ``D``.

    Attributes:
        hash: of name and width, 16 hexadecimal digits.
        geometry: empty; no image is brought to anything.
    """

    architecture = "imported"
    public = True
    geometry = ""

    def __init__(self, name: str, width: int) -> None:
        super().__init__()
        self.name = name
        self.width = width
        self.hash = hashlib.sha256(f"imported {name} {width}".encode()).hexdigest()[:16]
        self.mean = torch.zeros(1)  # whoever asks where and how precisely the backbone computes

    def travelling(self) -> dict[str, Any]:
        """Nothing: there are no weights."""
        return {}

    def forward(self, images: Tensor) -> RegionFeatures:
        """Cannot be.

        Raises:
            InputError: always.
        """
        del images
        self.refuse_photos()

    def refuse_photos(self) -> NoReturn:
        """Says that only a store will do.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"this model reads regions that were imported as {self.name!r} and cannot look at "
            "photos; give their store by --data.store vlm.data.FeatureStore --data.store.path STORE"
        )
