"""CaptionData: images and their captions, batch by batch, for Lightning."""

import os
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from vlm.data.augmentation import RandAugment
from vlm.data.batches import ImageFiles, StoredViews
from vlm.data.folders import list_images
from vlm.data.images import ImageGeometry, check_images
from vlm.data.order import FixedOrder, ResumableLoader, ShuffledOrder
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.files import file_hash
from vlm.formats.captions import CaptionSample, read_captions
from vlm.formats.image_list import listed
from vlm.text.tokenizer import CaptionTokenizer, Vocabulary, WordVocabulary

SPLITS_OF_STAGE = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


class CaptionData(L.LightningDataModule):
    """Captioned images from COCO JSON, JSON lines or a plain folder.

    Args:
        annotations: file of each split (``train``, ``val``, ``test``, ``predict``), or one
            file for whichever split is asked for; without a file for it, ``predict`` takes
            every image of the folder.
        images: folder that the image names are relative to.
        root: folder that ``annotations`` and ``images`` are relative to.
        vocabulary: how the tokenizer is made from the training captions.
        store: of region features that ``vlm extract`` made; training draws from its views,
            everything else reads the clean one. Without it the backbone looks at every step.
        augmentation: of training images; needs the backbone in the loop, so no store.
        batch_size: images a step, each with all its captions.
        workers: processes that load images.
        seed: of order and augmentation.

    Raises:
        InputError: if augmentation and store are both asked for, or a number is out of range.
    """

    def __init__(
        self,
        annotations: dict[str, str] | str | None = None,
        images: str = ".",
        *,
        root: str = ".",
        vocabulary: Vocabulary = WordVocabulary(),  # noqa: B008  frozen
        store: FeatureStore | None = None,
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
        if store is not None and augmentation is not None:
            raise InputError(
                "stored features cannot be augmented; remove data.store or data.augmentation, or "
                "extract a store with several views"
            )
        self.annotations = annotations
        self.images = images
        self.root = str(Path(root).resolve())
        self.vocabulary = vocabulary
        self.store = store
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        # More processes than images leave some without any, and that is well.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._checked: set[str] = set()
        self._samples: dict[str, list[CaptionSample]] = {}
        self._geometry: ImageGeometry | None = None
        self._rows: dict[tuple[str, str], list[int]] = {}

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
        """Looks at every image file of a split, once, or for its features in the store.

        Raises:
            InputError: naming all that cannot be used, or the first that the store lacks.
        """
        folder, samples = self._folder, self.samples(split)
        if split in self._checked:
            return
        if self.store is not None:
            self.rows(self.store, split)
            self._checked.add(split)
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

    def look_with(self, geometry: ImageGeometry) -> None:
        """Sets how image files are loaded where there is no store."""
        self._geometry = geometry

    def rows(self, store: FeatureStore, split: str) -> list[int]:
        """Where the images of a split stand in a store.

        Raises:
            InputError: naming the first that it does not have.
        """
        if (store.path, split) not in self._rows:
            folder, samples = self._folder, self.samples(split)
            names = [os.path.relpath(sample.path, folder) for sample in samples]
            pairs = zip(samples, names, strict=True)
            found = [store.row(sample.image_id, name) for sample, name in pairs]
            self._rows[store.path, split] = found
        return self._rows[store.path, split]

    def train_dataloader(self) -> DataLoader:
        """Shuffled; a resumed run goes on where it stopped."""
        dataset = self._dataset("train")
        process, processes = self._share()
        order = ShuffledOrder(len(dataset), seed=self.seed, process=process, processes=processes)
        return ResumableLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=order,
            num_workers=self.workers,
            collate_fn=dataset.collate,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
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
            images = listed(list_images(self._folder), self._folder)
            return [CaptionSample(image.image_id, image.path, ()) for image in images]
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

    def _dataset(self, split: str) -> "ImageFiles | StoredViews":
        """The images of a split; those of training in random views, or augmented."""
        samples, training = self.samples(split), split == "train"
        if self.store is not None:
            views = self.store.views if training else 1
            rows = self.rows(self.store, split)
            return StoredViews(samples, self.store, rows, views=views, seed=self.seed)
        if self._geometry is None:
            raise InputError("no backbone has said how it takes images; run through a trainer")
        augmentation = self.augmentation if training else None
        return ImageFiles(samples, self._geometry, augmentation=augmentation, seed=self.seed)

    def _in_order(self, split: str) -> DataLoader:
        dataset = self._dataset(split)
        process, processes = self._share()
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            sampler=FixedOrder(len(dataset), process=process, processes=processes),
            num_workers=self.workers,
            collate_fn=dataset.collate,
            pin_memory=torch.cuda.is_available(),
        )

    def _share(self) -> tuple[int, int]:
        """Which process this is, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
