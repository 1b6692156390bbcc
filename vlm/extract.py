"""Images through a frozen backbone into a feature cache."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vlm.data.features import FeatureCache, fingerprint
from vlm.data.images import ImageGeometry, refuse
from vlm.errors import InputError
from vlm.models.backbone import FrozenBackbone
from vlm.regions import RegionFeatures


def geometry_of(backbone: FrozenBackbone) -> ImageGeometry:
    """The image geometry that a backbone asks for."""
    return ImageGeometry(*backbone.image_size, backbone.interpolation)


def extract(
    backbone: FrozenBackbone,
    paths: Sequence[Path],
    cache: Path,
    *,
    batch_size: int = 32,
    workers: int = 0,
) -> FeatureCache:
    """Region features of images, from the cache where they are there already.

    Args:
        backbone: on the device that shall do the work.
        paths: of the images.
        cache: folder of caches; each has its fingerprint as its name.
        batch_size: images the backbone looks at together.
        workers: processes that decode images.

    Returns:
        the cache, entry ``i`` holding the features of ``paths[i]``.

    Raises:
        InputError: naming every image that could not be read (nothing is kept then), or if
            the cache cannot be read or written.
    """
    geometry = geometry_of(backbone)
    folder = cache / fingerprint(backbone.hash, repr(geometry), paths)
    if folder.is_dir():
        return FeatureCache(folder)
    files = _ImageFiles(paths, geometry)
    loader = DataLoader(files, batch_size=batch_size, num_workers=workers, collate_fn=list)
    return FeatureCache.write(folder, _look(backbone, loader, len(paths)), images=len(paths))


def _look(backbone: FrozenBackbone, loader: DataLoader, images: int) -> Iterator[RegionFeatures]:
    """Features batch by batch; bad images are gathered and named together at the end."""
    complaints: list[str] = []
    name = backbone.name.rpartition("/")[2]
    with tqdm(total=images, desc=f"features of {name}", unit=" images") as progress:
        for batch in loader:
            complaints += [item for item in batch if isinstance(item, str)]
            if not complaints:
                pixels = torch.stack(batch).to(backbone.mean.device)
                yield backbone(pixels.to(backbone.mean.dtype) / 255)
            progress.update(len(batch))
    refuse(complaints, images=images, origin="the set")


class _ImageFiles(Dataset):
    """Image files as uint8 tensors, or the sentence that says why one cannot be used."""

    def __init__(self, paths: Sequence[Path], geometry: ImageGeometry) -> None:
        self._paths = paths
        self._geometry = geometry

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor | str:
        try:
            return self._geometry.load(self._paths[index])
        except InputError as error:
            return str(error)


def mean_features(
    backbone: FrozenBackbone, paths: Sequence[Path], *, cache: str | None
) -> NDArray[np.float32]:
    """One vector an image: the mean over its regions.

    Args:
        backbone: on the device that shall do the work.
        paths: of the images.
        cache: folder of caches; without it nothing is kept.

    Returns:
        ``(images, D)``.
    """
    with TemporaryDirectory() as folder:
        features = extract(backbone, paths, Path(cache or folder))
        return np.stack(
            [features[index].float().mean(dim=0).numpy() for index in range(len(paths))]
        )
