"""JointData: images with their captions and the questions about them, for one decoder of both."""

from itertools import chain
from pathlib import Path
from typing import NamedTuple

from vlm.data.asked import VQAData, texts_of
from vlm.data.augmentation import RandAugment
from vlm.data.captioned import CaptionData
from vlm.data.datamodules import Files, ImageData
from vlm.data.store import FeatureStore
from vlm.formats.captions import CaptionSample
from vlm.formats.ids import Id
from vlm.formats.question_sets import AskedQuestion, QuestionSample
from vlm.text.answer_vocabulary import AnswerVocabulary, FrequentAnswers
from vlm.text.tokenizer import CaptionTokenizer, Vocabulary, WordVocabulary


class JointSample(NamedTuple):
    """An image with what is said and asked about it.

    Attributes:
        image_id: unique in its set.
        path: of the image file.
        captions: none where the set of captions does not have the image.
        questions: none where the set of questions does not have it.
    """

    image_id: Id
    path: Path
    captions: tuple[str, ...]
    questions: tuple[AskedQuestion, ...]


class JointData(ImageData[JointSample]):
    """Images with captions and questions: those of :class:`CaptionData` and :class:`VQAData`.

    An image that both have, by its file or else by its id, is seen once a step for both.

    Args:
        captions: file of captions of each split, or one file for whichever is asked for.
        questions: file of questions of each split, or one file for whichever is asked for.
        annotations: file of the answers to the questions of each split, where they are apart.
        images: folder that the image names are relative to.
        root: folder that all files are relative to.
        image_name: of the file of an image, where neither the set of questions names it nor
            COCO does.
        vocabulary: how the tokenizer is made from training captions, questions and answers.
        answers: how the answers that a model may give are chosen.
        store: of region features that ``vlm extract`` made; training draws from its views,
            everything else reads the clean one. Without it the backbone looks at every step.
        augmentation: of training images; needs the backbone in the loop, so no store.
        batch_size: images a step, each with all its captions and questions.
        workers: processes that load images.
        seed: of order and augmentation.

    Raises:
        InputError: if augmentation and store are both asked for, or a number is out of range.
    """

    FILES = ("captions", "questions", "annotations")

    def __init__(  # noqa: PLR0913  both sets' options
        self,
        captions: Files = None,
        questions: Files = None,
        annotations: Files = None,
        images: str = ".",
        *,
        root: str = ".",
        image_name: str | None = None,
        vocabulary: Vocabulary = WordVocabulary(),
        answers: AnswerVocabulary = FrequentAnswers(),
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
        self.captions = captions
        self.questions = questions
        self.annotations = annotations
        self.image_name = image_name
        self.vocabulary = vocabulary
        self.answers = answers
        self._captioned = CaptionData(captions, images, root=root)
        self._asked = VQAData(
            questions, annotations, images, root=root, image_name=image_name, answers=answers
        )

    def tokenizer(self) -> CaptionTokenizer:
        """A tokenizer made from the training captions, questions and answers."""
        captioned = self._captioned.samples("train") if self.paths("captions", "train") else []
        captions = (text for sample in captioned for text in sample.captions)
        return self.vocabulary.train(chain(captions, texts_of(self._asked.samples("train"))))

    def answer_list(self) -> tuple[str, ...]:
        """The answers that a model may give, chosen on the training questions."""
        return self._asked.answer_list()

    def read(self, split: str) -> list[JointSample]:
        """The images of a split; a split may lack captions or questions, not both."""
        asked: list[QuestionSample] = []
        captioned: list[CaptionSample] = []
        if self.paths("questions", split):
            asked = self._asked.samples(split)
        if self.paths("captions", split) or not asked:
            captioned = self._captioned.samples(split)
        of_image = {s.image_id: JointSample(s.image_id, s.path, s.captions, ()) for s in captioned}
        of_file = {sample.path: sample.image_id for sample in captioned}
        for sample in asked:
            key = of_file.get(sample.path, sample.image_id)
            known = of_image.get(key, JointSample(key, sample.path, (), ()))
            of_image[key] = known._replace(questions=known.questions + sample.questions)
        return list(of_image.values())
