"""CaptionData: images and their captions, batch by batch, for Lightning."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vlm.data.augmentation import RandAugment, seed_of
from vlm.data.features import FeatureCache
from vlm.data.images import ImageGeometry, check_images, list_images
from vlm.data.order import Draw, FixedOrder, ResumableLoader, ShuffledOrder
from vlm.errors import InputError
from vlm.files import file_hash
from vlm.formats.captions import CaptionSample, read_captions
from vlm.regions import RegionFeatures
from vlm.text.tokenizer import CaptionTokenizer, Vocabulary, WordVocabulary

SPLITS_OF_STAGE = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class CaptionBatch(NamedTuple):
    """Images with their captions.

    Attributes:
        image_ids: ``B`` ids.
        images: ``(B, 3, height, width)`` uint8, or the region features of the images.
        captions: ``B`` lists of up to ``C`` captions, empty where there are none.
    """

    image_ids: list[int | str]
    images: Tensor | RegionFeatures
    captions: list[list[str]]


class CaptionData(L.LightningDataModule):
    """Captioned images from COCO JSON, JSON lines or a plain folder.

    Args:
        annotations: file of each split (``train``, ``val``, ``test``, ``predict``), or one
            file for whichever split is asked for; without a file for it, ``predict`` takes
            every image of the folder.
        images: folder that the image names are relative to.
        root: folder that ``annotations`` and ``images`` are relative to.
        vocabulary: how the tokenizer is made from the training captions.
        cache: folder that keeps region features, each image looked at once; without it
            the backbone looks again at every step.
        augmentation: of training images; needs the backbone in the loop, so no cache.
        batch_size: images a step, each with all its captions.
        workers: processes that load images.
        seed: of order and augmentation.

    Raises:
        InputError: if augmentation and cache are both asked for, or a number is out of range.
    """

    def __init__(
        self,
        annotations: dict[str, str] | str | None = None,
        images: str = ".",
        *,
        root: str = ".",
        vocabulary: Vocabulary = WordVocabulary(),  # noqa: B008  frozen
        cache: str | None = None,
        augmentation: RandAugment | None = None,
        batch_size: int = 32,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise InputError(
                f"expected batch_size of at least 1 and workers of at least 0, got batch_size="
                f"{batch_size}, workers={workers}"
            )
        if cache is not None and augmentation is not None:
            raise InputError(
                "cached features cannot be augmented; remove data.cache or data.augmentation"
            )
        self.annotations = annotations
        self.images = images
        self.root = str(Path(root).resolve())
        self.vocabulary = vocabulary
        self.cache = None if cache is None else str(Path(cache).resolve())
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        # More processes than images leave some without any, and that is well.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._checked: set[str] = set()
        self._samples: dict[str, list[CaptionSample]] = {}
        self._sources: dict[str, ImageGeometry | FeatureCache] = {}

    def samples(self, split: str) -> list[CaptionSample]:
        """The images of a split with their captions, read once.

        Raises:
            InputError: if the split has no file or its file cannot be used.
        """
        if split not in self._samples:
            self._samples[split] = self._read(split)
        return self._samples[split]

    def tokenizer(self) -> CaptionTokenizer:
        """A tokenizer made from the training captions."""
        samples = self.samples("train")
        return self.vocabulary.train(text for sample in samples for text in sample.captions)

    def check_images(self, split: str) -> None:
        """Looks at every image file of a split, once.

        Raises:
            InputError: naming all that cannot be used.
        """
        folder, samples = self._folder, self.samples(split)
        if split in self._checked:
            return
        if not folder.is_dir():
            raise InputError(f"image folder {folder} does not exist; correct data.images")
        check_images((sample.path for sample in samples), origin=f"the {split} split")
        self._checked.add(split)

    def fingerprints(self, stage: str) -> dict[str, dict[str, str | int]]:
        """What each split of a stage holds: its file, the file's hash, how many images."""
        found: dict[str, dict[str, str | int]] = {}
        for split in SPLITS_OF_STAGE[stage]:
            file, images = self._file(split), len(self.samples(split))
            content = {"file": str(file), "hash": file_hash(file)} if file else {}
            found[split] = content | {"images": images}
        return found

    def look_with(self, split: str, source: ImageGeometry | FeatureCache) -> None:
        """Sets where the images of a split come from: their files, or kept features."""
        self._sources[split] = source

    def train_dataloader(self) -> DataLoader:
        """Shuffled; a resumed run goes on where it stopped."""
        dataset = self._dataset("train", self.augmentation)
        process, processes = self._share()
        order = ShuffledOrder(len(dataset), seed=self.seed, process=process, processes=processes)
        return ResumableLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=self.workers,
            collate_fn=dataset.collate,
            persistent_workers=self.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """In order, each image once."""
        return self._in_order("val")

    def test_dataloader(self) -> DataLoader:
        """In order, each image once."""
        return self._in_order("test")

    def predict_dataloader(self) -> DataLoader:
        """In order, each image once."""
        return self._in_order("predict")

    def _read(self, split: str) -> list[CaptionSample]:
        file = self._file(split)
        if file is None and split == "predict":
            paths = list_images(self._folder)
            names = (path.relative_to(self._folder).as_posix() for path in paths)
            return [CaptionSample(*pair, ()) for pair in zip(names, paths, strict=True)]
        if file is None:
            raise InputError(
                f"there are no annotations for {split}; name a file as data.annotations.{split}"
            )
        samples = read_captions(file, self._folder)
        for sample in samples:
            if not all(caption.strip() for caption in sample.captions):
                raise InputError(
                    f"{file}: a caption of image {sample.image_id} is empty; write one or remove it"
                )
        bare = [str(sample.image_id) for sample in samples if not sample.captions]
        if bare and split != "predict":
            raise InputError(
                f"{file} has no caption for {len(bare)} images ({', '.join(bare[:5])}); "
                "write one each, or use predict"
            )
        return samples

    @property
    def _folder(self) -> Path:
        """Of the images."""
        return Path(self.root) / self.images

    def _file(self, split: str) -> Path | None:
        """The annotation file of a split, if it has one."""
        named = self.annotations
        if isinstance(named, dict):
            named = named.get(split)
        return None if named is None else Path(self.root) / named

    def _dataset(self, split: str, augmentation: RandAugment | None = None) -> "CaptionDataset":
        return CaptionDataset(
            self.samples(split), self._sources[split], augmentation=augmentation, seed=self.seed
        )

    def _in_order(self, split: str) -> DataLoader:
        dataset = self._dataset(split)
        process, processes = self._share()
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=FixedOrder(len(dataset), process=process, processes=processes),
            num_workers=self.workers,
            collate_fn=dataset.collate,
        )

    def _share(self) -> tuple[int, int]:
        """Which process this is, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


class _Item(NamedTuple):
    sample: CaptionSample
    image: Tensor


class CaptionDataset(Dataset):
    """Samples with their images or kept features.

    Args:
        samples: of a split.
        source: the geometry that files are loaded with, or a cache in the samples' order.
        augmentation: of image files.
        seed: of the augmentation.
    """

    def __init__(
        self,
        samples: Sequence[CaptionSample],
        source: ImageGeometry | FeatureCache,
        *,
        augmentation: RandAugment | None = None,
        seed: int = 0,
    ) -> None:
        self._samples = samples
        self._source = source
        self._augmentation = augmentation
        self._seed = seed

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, draw: Draw) -> _Item:
        sample = self._samples[draw.sample]
        if isinstance(self._source, FeatureCache):
            return _Item(sample, self._source[draw.sample])
        image = self._source.load(sample.path)
        if self._augmentation is not None:
            seed = seed_of(self._seed, draw.epoch, draw.sample)
            image = self._augmentation(image, seed=seed)
        return _Item(sample, image)

    def collate(self, items: Sequence[_Item]) -> CaptionBatch:
        """Items to one batch."""
        images = [item.image for item in items]
        source = self._source
        return CaptionBatch(
            image_ids=[item.sample.image_id for item in items],
            images=source.batch(images)
            if isinstance(source, FeatureCache)
            else torch.stack(images),
            captions=[list(item.sample.captions) for item in items],
        )
