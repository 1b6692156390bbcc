"""VQAData: images and the questions about them, from VQA v2 files, JSON lines or their kin."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from vlm.data.augmentation import RandAugment
from vlm.data.datamodules import Files, ImageData
from vlm.data.store import FeatureStore
from vlm.errors import InputError
from vlm.formats.ids import refuse_doubles, shown
from vlm.formats.question_sets import QuestionSample, read_question_samples
from vlm.text.answer_vocabulary import AnswerVocabulary, FrequentAnswers
from vlm.text.tokenizer import CaptionTokenizer, Vocabulary, WordVocabulary


class VQAData(ImageData[QuestionSample]):
    """Images with the questions that people asked and answered about them.

    Every kind of file that :func:`vlm.formats.question_sets.read_question_samples` reads: those
    of VQA v2 and OK-VQA as two, JSON lines and those of GQA, VizWiz and TextVQA as one.

    Args:
        questions: file of each split (``train``, ``val``, ``test``, ``predict``), or one file
            for whichever split is asked for; several as a list, ``trainval`` say.
        annotations: file of the answers to the questions of each split, where they are apart;
            ``predict`` needs none and reads none.
        images: folder that the image names are relative to.
        root: folder that ``questions``, ``annotations`` and ``images`` are relative to.
        image_name: of the file of an image, ``image{image_id}.jpg`` say, where it is neither
            in the set nor one of COCO's.
        vocabulary: how the tokenizer is made from the training questions and their answers.
        answers: how the answers that a model may give are chosen.
        store: of region features that ``vlm extract`` made; training draws from its views,
            everything else reads the clean one. Without it the backbone looks at every step.
        augmentation: of training images; needs the backbone in the loop, so no store.
        batch_size: images a step, each with all its questions.
        workers: processes that load images.
        seed: of order and augmentation.

    Raises:
        InputError: if augmentation and store are both asked for, or a number is out of range.
    """

    FILES = ("questions", "annotations")

    def __init__(
        self,
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
        self.questions = questions
        self.annotations = annotations
        self.image_name = image_name
        self.vocabulary = vocabulary
        self.answers = answers

    def tokenizer(self) -> CaptionTokenizer:
        """A tokenizer made from the training questions and all that people answered."""
        return self.vocabulary.train(texts_of(self.samples("train")))

    def answer_list(self) -> tuple[str, ...]:
        """The answers that a model may give, chosen on the training questions."""
        asked = (question for sample in self.samples("train") for question in sample.questions)
        return self.answers.choose(question.answer for question in asked)

    def read(self, split: str) -> list[QuestionSample]:
        """The images of a split with their questions, one entry an image over all files."""
        questions = self.paths("questions", split)
        answers = self.paths("annotations", split) if split != "predict" else []
        if not questions:
            raise InputError(
                f"there are no questions for {split}; name a file as data.questions.{split}"
            )
        if answers and len(answers) != len(questions):
            raise InputError(
                f"there are {len(questions)} files of questions for {split} and {len(answers)} of "
                "annotations; name as many, in one order"
            )
        pairs = zip(questions, answers or [None] * len(questions), strict=True)
        parts = [self._read(*pair, split=split) for pair in pairs]
        return parts[0] if len(parts) == 1 else merged(parts, questions[-1])

    def _read(self, questions: Path, answers: Path | None, *, split: str) -> list[QuestionSample]:
        """One file's; every question with answers where the split needs them."""
        name = self.image_name
        samples = read_question_samples(questions, answers, self.folder, image_name=name)
        asked = [question for sample in samples for question in sample.questions]
        bare = [question.question_id for question in asked if not question.answers]
        if bare and split != "predict":
            raise InputError(
                f"{questions} has questions without answers ({shown(bare)}); name their file as "
                f"data.annotations.{split}, or use predict"
            )
        return samples


def texts_of(samples: Sequence[QuestionSample]) -> Iterator[str]:
    """All that was asked and answered."""
    for sample in samples:
        for question in sample.questions:
            yield question.text
            yield from question.answers


def merged(parts: Sequence[Sequence[QuestionSample]], origin: Path) -> list[QuestionSample]:
    """The questions of several files, one entry an image.

    Raises:
        InputError: if a question is in two of them.
    """
    of_image: dict[Path, QuestionSample] = {}
    for sample in chain.from_iterable(parts):
        known = of_image.get(sample.path, sample._replace(questions=()))
        of_image[sample.path] = known._replace(questions=known.questions + sample.questions)
    asked = (question for sample in of_image.values() for question in sample.questions)
    refuse_doubles(origin, "question", (question.question_id for question in asked))
    return list(of_image.values())
