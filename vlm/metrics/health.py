"""What is wrong with captions that scores do not show: cut-off ends, repetitions, unknown words.

Training for CIDEr-D without an end token in the reward rewards captions that stop at "with a" or
"on top of": such endings match n-grams of the references and cost nothing. A score alone hides it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from vlm.errors import InputError
from vlm.metrics.diversity import refuse_text
from vlm.metrics.ngrams import Words

# Words that ask for another one. People do end captions with "not sure what it is" or "a fruit to
# choose from", but less than once in a thousand. Left out is what may stand at the end by itself:
# - particles and adverbs: sitting down, looking on, walking by, passing over, from behind, near;
# - words with a second meaning: a trash can, a human being, next to her, each other, look at that.
_ARTICLES = ("a", "an", "the")
_POSSESSIVES = ("its", "my", "our", "their", "whose", "your")
_CONJUNCTIONS = ("although", "and", "as", "because", "but", "if", "nor", "or", "than", "while")
_RELATIVES = ("which", "who")
_PREPOSITIONS = (
    *("against", "among", "at", "beside", "during", "for", "from", "into", "like", "of", "onto"),
    *("to", "toward", "towards", "upon", "with", "without"),
)
_AUXILIARIES = ("am", "are", "be", "been", "had", "has", "have", "is", "was", "were")
BAD_ENDINGS = frozenset(
    _ARTICLES + _POSSESSIVES + _CONJUNCTIONS + _RELATIVES + _PREPOSITIONS + _AUXILIARIES
)


@dataclass(frozen=True)
class CaptionHealth:
    """Shares are of captions, in [0, 1], where nothing else is said; all but the first: 0 is best.

    Attributes:
        mean_length: In words.
        empty: Captions without a word; they neither end badly nor repeat a word.
        bad_endings: Captions whose last word is one of ``BAD_ENDINGS``. A lower bound: "a slice of
            pizza on" is cut off too, but "with the light on" is not, so "on" is no bad ending.
        repeated_words: Captions with the same word twice in a row, as in "a a dog".
        duplicates: Captions that another image has too.
        unknown_words: Share of words, not of captions, that the vocabulary lacks; None without a
            vocabulary or without any word.
    """

    mean_length: float
    empty: float
    bad_endings: float
    repeated_words: float
    duplicates: float
    unknown_words: float | None


def health(captions: Sequence[Words], *, vocabulary: Collection[str] | None) -> CaptionHealth:
    """Examines one caption an image.

    Args:
        captions: The tokens of each caption, as :func:`vlm.text.ptb.tokenize` makes them.
        vocabulary: The words known, such as those of the training captions; None if there are none
            to compare with.

    Raises:
        InputError: There is no caption, or one is text instead of tokens.
    """
    if not len(captions):
        raise InputError("there are no captions to examine: give the tokens of at least one")
    refuse_text(captions, name="caption")
    images = Counter(map(tuple, captions))

    def share(number: int) -> float:
        return number / len(captions)

    return CaptionHealth(
        mean_length=share(sum(map(len, captions))),
        empty=share(sum(not len(words) for words in captions)),
        bad_endings=share(sum(words[-1] in BAD_ENDINGS for words in captions if len(words))),
        repeated_words=share(sum(any(a == b for a, b in pairwise(words)) for words in captions)),
        duplicates=share(sum(number for number in images.values() if number > 1)),
        unknown_words=_unknown(captions, vocabulary),
    )


def _unknown(captions: Sequence[Words], vocabulary: Collection[str] | None) -> float | None:
    words = list(chain.from_iterable(captions))
    if vocabulary is None or not words:
        return None
    known = frozenset(vocabulary)
    return sum(word not in known for word in words) / len(words)
