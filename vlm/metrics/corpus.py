"""A corpus of captions as tokens, tokenised and counted once for all scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vlm.metrics.ngrams import CorpusNgrams, count_ngrams
from vlm.text.ptb import tokenize

Tokens = list[str]


@dataclass(frozen=True)
class Corpus:
    """Tokens of one candidate and of the references of each image.

    Attributes:
        candidates: One an image.
        references: At least one an image; images in the same order.
    """

    candidates: list[Tokens]
    references: list[list[Tokens]]

    @cached_property
    def ngrams(self) -> CorpusNgrams:
        """What BLEU and CIDEr count."""
        return count_ngrams([words(caption) for caption in self.candidates], self.reference_words)

    @property
    def reference_words(self) -> list[list[Tokens]]:
        """The references as BLEU and CIDEr read them."""
        return [[words(caption) for caption in captions] for captions in self.references]


def tokenize_references(references: Mapping[Any, Sequence[str]]) -> list[list[Tokens]]:
    """The tokens of all references, which are read as the lines of one file."""
    flat = iter(tokenize([caption for captions in references.values() for caption in captions]))
    return [[next(flat) for _ in captions] for captions in references.values()]


def words(tokens: Tokens) -> Tokens:
    """What BLEU and CIDEr count: they, but not ROUGE-L, part a token at the spaces within it."""
    parted = " ".join(tokens).split()
    return tokens if parted == tokens else parted  # strings met before, which count faster
