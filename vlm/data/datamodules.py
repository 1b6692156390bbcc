"""ImageData: images with the text about them, batch by batch, for Lightning."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Generic, TypeVar

import lightning as L
import torch
from torch.utils.data import DataLoader

from vlm.data.augmentation import RandAugment
from vlm.data.batches import Batch, ImageFiles, Sample, StoredViews
from vlm.data.images import ImageGeometry, check_images
from vlm.data.order import FixedOrder, ResumableLoader, ShuffledOrder
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.files import file_hash
from vlm.text.tokenizer import CaptionTokenizer

SPLITS_OF_STAGE = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}
Of = TypeVar("Of", bound=Sample)
Files = dict[str, str | list[str]] | str | None


class ImageData(L.LightningDataModule, ABC, Generic[Of]):
    """What every task needs of its images; a subclass knows what is said about them.

    Args:
        images: folder that the image names are relative to.
        root: folder that ``images`` and the files of a subclass are relative to.
        store: of region features that ``vlm extract`` made; training draws from its views,
            everything else reads the clean one. Without it the backbone looks at every step.
        augmentation: of training images; needs the backbone in the loop, so no store.
        batch_size: images a step, each with all that is said about it.
        workers: processes that load images.
        seed: of order and augmentation.

    Attributes:
        FILES: the arguments that name files of splits, a list where a split has several.

    Raises:
        InputError: if augmentation and store are both asked for, or a number is out of range.
    """

    FILES: tuple[str, ...] = ()

    def __init__(
        self,
        images: str,
        *,
        root: str,
        store: FeatureStore | None,
        augmentation: RandAugment | None,
        batch_size: int,
        workers: int,
        seed: int,
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
        self.images = images
        self.root = str(Path(root).resolve())
        self.store = store
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        # More processes than images leave some without any, and that is well.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self._checked: set[str] = set()
        self._samples: dict[str, list[Of]] = {}
        self._geometry: ImageGeometry | None = None
        self._rows: dict[tuple[str, str], list[int]] = {}

    @abstractmethod
    def tokenizer(self) -> CaptionTokenizer:
        """A tokenizer made from the training texts."""

    def answer_list(self) -> tuple[str, ...] | None:
        """The answers that a model may give; None where nothing is asked."""
        return None

    @abstractmethod
    def read(self, split: str) -> list[Of]:
        """The images of a split with all that is said about them, from the files.

        Raises:
            InputError: if the split has no file or its file cannot be used.
        """

    def samples(self, split: str) -> list[Of]:
        """The images of a split with all that is said about them, read once.

        Raises:
            InputError: if the split has no file or its file cannot be used.
        """
        if split not in self._samples:
            self._samples[split] = self.read(split)
        return self._samples[split]

    def check_images(self, split: str) -> None:
        """Looks at every image file of a split, once, or for its features in the store.

        Raises:
            InputError: naming all that cannot be used, or the first that the store lacks.
        """
        folder, samples = self.folder, self.samples(split)
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
        """What each split of a stage holds: how many images, and the hash of each of its files."""
        found: dict[str, dict[str, str | int]] = {}
        for split in SPLITS_OF_STAGE[stage]:
            content: dict[str, str | int] = {"images": len(self.samples(split))}
            for argument in self.FILES:
                for path in self.paths(argument, split):
                    content[f"{argument}: {path}"] = file_hash(path)
            found[split] = content
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
            folder, samples = self.folder, self.samples(split)
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

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """The images alone: what is said about them stays text."""
        images = super().transfer_batch_to_device(batch.images, device, dataloader_idx)
        return batch._replace(images=images)

    @property
    def folder(self) -> Path:
        """Of the images."""
        return Path(self.root) / self.images

    def paths(self, argument: str, split: str) -> list[Path]:
        """The files of a split that one of the arguments names: none, one, or several."""
        named: Files = getattr(self, argument)
        of_split = named.get(split) if isinstance(named, dict) else named
        names = [of_split] if isinstance(of_split, str) else of_split or []
        return [Path(self.root) / name for name in names]

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


def splits_read(trainer: L.Trainer, stage: str) -> list[str]:
    """Those that a stage reads: a fit that never validates reads no validation split."""
    never = trainer.limit_val_batches == 0
    return [split for split in SPLITS_OF_STAGE[stage] if not (split == "val" and never)]
