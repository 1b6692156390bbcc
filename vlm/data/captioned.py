"""CaptionData: images and their captions, from COCO JSON, JSON lines or a plain folder."""

from pathlib import Path

from vlm.data.augmentation import RandAugment
from vlm.data.datamodules import Files, ImageData
from vlm.data.folders import list_images
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.formats.captions import CaptionSample, read_captions
from vlm.formats.ids import refuse_doubles
from vlm.formats.image_list import listed
from vlm.text.tokenizer import CaptionTokenizer, Vocabulary, WordVocabulary


class CaptionData(ImageData[CaptionSample]):
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

    FILES = ("annotations",)

    def __init__(
        self,
        annotations: Files = None,
        images: str = ".",
        *,
        root: str = ".",
        vocabulary: Vocabulary = WordVocabulary(),
        store: FeatureStore | None = None,
        augmentation: RandAugment | None = None,
        batch_size: int = 32,
        workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            images,
            root=root,
            store=store,
            augmentation=augmentation,
            batch_size=batch_size,
            workers=workers,
            seed=seed,
        )
        self.annotations = annotations
        self.vocabulary = vocabulary

    def tokenizer(self) -> CaptionTokenizer:
        """A tokenizer made from the training captions."""
        samples = self.samples("train")
        return self.vocabulary.train(text for sample in samples for text in sample.captions)

    def read(self, split: str) -> list[CaptionSample]:
        """The images of a split with their captions."""
        files = self.paths("annotations", split)
        if not files and split == "predict":
            images = listed(list_images(self.folder), self.folder)
            return [CaptionSample(image.image_id, image.path, ()) for image in images]
        if not files:
            raise InputError(
                f"there are no annotations for {split}; name a file as data.annotations.{split}"
            )
        samples = [sample for file in files for sample in self._read(file, split)]
        refuse_doubles(files[-1], "image", (sample.image_id for sample in samples))
        return samples

    def _read(self, file: Path, split: str) -> list[CaptionSample]:
        samples = read_captions(file, self.folder)
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
