"""CaptionTokenizer: text to ids and back, word-level or byte-level BPE, one JSON string."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from vlm.errors import InputError

PAD, START, END, UNKNOWN = SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
# Apostrophes and hyphens stay inside words (o'clock, t-shirt) and go everywhere else.
NOT_IN_WORDS = r"[^\p{L}\p{M}\p{N}'\s-]|(?<![\p{L}\p{M}\p{N}])['-]+|['-]+(?![\p{L}\p{N}])"
WORD_BREAK = "Ġ"
BYTES = 256


class Word(NamedTuple):
    """A word of a decoded caption and the tokens that spell it.

    Attributes:
        text: as written.
        start: index of its first token.
        stop: index after its last token.
    """

    text: str
    start: int
    stop: int


class CaptionTokenizer:
    """Text to ids and back; the whole state is one JSON string that a checkpoint can hold.

    Args:
        definition: JSON of the ``tokenizers`` library.

    Raises:
        InputError: if the definition is not that of a caption tokenizer.
    """

    def __init__(self, definition: str) -> None:
        try:
            self._tokenizer = Tokenizer.from_str(definition)
        except Exception as error:  # the library raises bare Exception
            raise InputError(
                f"the tokenizer's definition cannot be read ({error}); take another checkpoint"
            ) from error
        vocabulary = self._tokenizer.get_vocab()
        missing = [token for token in SPECIAL if token not in vocabulary]
        if missing:
            raise InputError(f"the tokenizer lacks {missing[0]}; make it with a vlm vocabulary")
        self._tokenizer.encode_special_tokens = True  # a caption that says <end> does not end
        self.definition = definition
        self.pad, self.start, self.end, self.unknown = (vocabulary[token] for token in SPECIAL)

    def __len__(self) -> int:
        return self._tokenizer.get_vocab_size()

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of each token, by its text."""
        return self._tokenizer.get_vocab()

    def __reduce__(self) -> tuple[type["CaptionTokenizer"], tuple[str]]:
        """Copies are made from the definition."""
        return CaptionTokenizer, (self.definition,)

    def encode(self, captions: Sequence[str], *, max_length: int) -> list[list[int]]:
        """Ids of captions between start and end; longer ones lose their last words.

        Args:
            captions: any text.
            max_length: tokens at most, start and end included.

        Raises:
            InputError: if there is no room for start and end.
        """
        if max_length < 2:
            raise InputError(f"max_length is {max_length}; give 2 for start and end, and more")
        encodings = self._tokenizer.encode_batch(list(captions), add_special_tokens=False)
        return [[self.start, *item.ids[: max_length - 2], self.end] for item in encodings]

    def batch(self, captions: Sequence[Sequence[str]], *, max_length: int) -> np.ndarray:
        """Captions of several images as one array, padded.

        Args:
            captions: ``B`` lists of up to ``C`` captions.
            max_length: tokens at most, start and end included.

        Returns:
            ``(B, C, L)`` int64.
        """
        flat = self.encode([text for row in captions for text in row], max_length=max_length)
        rows = max((len(row) for row in captions), default=0)
        length = max((len(ids) for ids in flat), default=0)
        tokens = np.full((len(captions), rows, length), self.pad, dtype=np.int64)
        remaining = iter(flat)
        for image, row in enumerate(captions):
            for caption in range(len(row)):
                ids = next(remaining)
                tokens[image, caption, : len(ids)] = ids
        return tokens

    def decode(self, ids: Sequence[int]) -> str:
        """The text that ids spell; special tokens are left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def words(self, ids: Sequence[int]) -> list[Word]:
        """The words that ids spell, each with its tokens; special tokens belong to none."""
        starts = [index for index in range(len(ids)) if self._begins_word(ids, index)]
        spans = zip(starts, [*starts[1:], len(ids)], strict=True)
        words = (Word(self.decode(ids[start:stop]), start, stop) for start, stop in spans)
        return [word for word in words if word.text]

    def _begins_word(self, ids: Sequence[int], index: int) -> bool:
        """Whether a token belongs to no word that began before it."""
        if index == 0 or not isinstance(self._tokenizer.model, models.BPE):
            return True
        special = {self.pad, self.start, self.end, self.unknown}
        if special & {ids[index - 1], ids[index]}:
            return True
        return (self._tokenizer.id_to_token(ids[index]) or "").startswith(WORD_BREAK)


class Vocabulary(ABC):
    """How a tokenizer is made from the captions of a training set."""

    @abstractmethod
    def train(self, captions: Iterable[str]) -> CaptionTokenizer:
        """A tokenizer for texts like these; the same captions give the same one."""


@dataclass(frozen=True)
class WordVocabulary(Vocabulary):
    """Lower-case words without punctuation, those that occur often enough.

    The convention of Karpathy and Fei-Fei 2015 (arXiv:1412.2306), whose minimum is 5.

    Attributes:
        min_count: occurrences below which a word is unknown.
    """

    min_count: int = 5

    def train(self, captions: Iterable[str]) -> CaptionTokenizer:
        """A word-level tokenizer.

        Raises:
            InputError: if no word occurs often enough.
        """
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.normalizer = normalizers.Sequence(
            [
                normalizers.NFKC(),
                normalizers.Lowercase(),
                normalizers.Replace("\u2019", "'"),
                normalizers.Replace(Regex(NOT_IN_WORDS), " "),
            ]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        trainer = trainers.WordLevelTrainer(
            vocab_size=2**31,  # the library would stop at 30,000 words
            min_frequency=self.min_count,
            special_tokens=list(SPECIAL),
            show_progress=False,
        )
        tokenizer.train_from_iterator(captions, trainer)
        if tokenizer.get_vocab_size() == len(SPECIAL):
            raise InputError(
                f"no word occurs {self.min_count} times in the training captions; give more "
                "captions or a lower min_count"
            )
        return CaptionTokenizer(tokenizer.to_str())


@dataclass(frozen=True)
class BytePairVocabulary(Vocabulary):
    """Byte-level byte-pair encoding: any text, nothing unknown (Sennrich et al. 2016).

    Attributes:
        size: of the vocabulary at most, special tokens and 256 bytes included.

    Raises:
        InputError: if the size leaves no room for those.
    """

    size: int = 8000

    def __post_init__(self) -> None:
        if self.size < BYTES + len(SPECIAL):
            raise InputError(
                f"a byte-pair vocabulary of {self.size} is too small; give {BYTES + len(SPECIAL)} "
                "or more"
            )

    def train(self, captions: Iterable[str]) -> CaptionTokenizer:
        """A byte-level BPE tokenizer."""
        tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.size,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(captions, trainer)
        return CaptionTokenizer(tokenizer.to_str())
