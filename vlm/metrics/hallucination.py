"""CHAIR: the objects that captions name and images lack (Rohrbach et al., 2018, arXiv:1809.02156).

What an image shows is what its COCO instances say and what people wrote of it. Names of objects,
one word or several, come from a table of synonyms, which is part of how the score was made.

One difference from the published program by choice: a full stop ends a word also inside a caption,
as does any other mark at the edge of a word.

On 400 captions of COCO the published table gives CHAIRs .1100 and CHAIRi .0916, equal to the
published program; the table of this project, which knows other names, .1025 and .0818.
"""

import re
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from vlm.errors import InputError
from vlm.files import file_hash, read_text
from vlm.formats.ids import shown, who_has
from vlm.text.singular import singular

ImageId = TypeVar("ImageId", bound=Hashable)

_TABLE = Path(__file__).with_name("synonyms.txt")
_LONGEST = 3  # words of a name

# A mark is a word of its own, so that "a laptop, computer" does not name a "laptop computer".
_WORD = re.compile(r"\w+(?:[-./]\w+|['\u2019](?!(?:s|d|m|ll|re|ve)\b)\w+)*|[^\w\s]")

# Words before a name that are none of their own there: a baby elephant holds no person.
_BEFORE_ANIMALS = ("baby", "adult")
_BEFORE_VEHICLES = ("passenger",)
_ANIMALS = (
    *("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    *("animal", "cub"),
)
_VEHICLES = ("jet", "train")
# Phrases that hold a name and are no such object: nothing to eat from, nothing to ride on.
_NO_OBJECTS = ("home plate", "train track")
# The pairs that the published program reads as one name, whatever its table says.
_PUBLISHED_PAIRS = (
    *("motor bike", "motor cycle", "air plane", "traffic light", "street light", "traffic signal"),
    *("stop light", "fire hydrant", "stop sign", "parking meter", "suit case", "baseball bat"),
    *("baseball glove", "hot dog", "cell phone", "mobile phone", "teddy bear", "hair drier"),
    *("potted plant", "bow tie", "laptop computer", "wine glass"),
)


def tokens_of(text: str) -> list[str]:
    """Words and marks of a text, in lower case, as names are looked up in them."""
    return _WORD.findall(text.lower())


def published_singular(word: str) -> str:
    """A noun's singular as the published program makes it, its faults included.

    It takes any final s for a plural's, so that "bus" becomes "bu" and is never found, while
    "buses" is.
    """
    if word in _FAULTS:
        return _FAULTS[word]
    return word[:-1] if word.endswith(("us", "ss", "is")) else singular(word)


_FAULTS = {"ties": "ty", "canoes": "cano", "minibuses": "bus", "airbuses": "bus"}


class Synonyms(NamedTuple):
    """Names of objects.

    Attributes:
        class_of: The class of every name; empty for phrases that are no object.
        hash: Of the table, as a score signature names it.
        singular: From a word of a caption to the form that names are looked up in.
    """

    class_of: dict[str, str]
    hash: str
    singular: Callable[[str], str]

    @classmethod
    def own(cls) -> "Synonyms":
        """The table of this project for the 80 classes of COCO."""
        names = _names(_TABLE)
        return cls(_phrases(names) | names, f"own-{file_hash(_TABLE)[:8]}", singular)

    @classmethod
    def published(cls, path: Path) -> "Synonyms":
        """A table read as the published program reads it, faults included: its scores are equal.

        Args:
            path: Of a file with one class a line: ``class, synonym, synonym``.

        Raises:
            InputError: The file cannot be read or holds no classes.
        """
        names = _names(path)
        words = {name: kind for name, kind in names.items() if " " not in name}
        pairs = {pair: names.get(pair, "") for pair in _PUBLISHED_PAIRS}
        glass = {"wine glas": names.get("wine glass", "")}
        class_of = words | pairs | glass | _phrases(names)
        return cls(class_of, f"published-{file_hash(path)[:8]}", published_singular)

    def mentions(self, caption: str) -> list[str]:
        """The class of every object that a caption names, in order; the longest name counts."""
        return [kind for _, kind in self.places(tokens_of(caption))]

    def places(self, tokens: Sequence[str]) -> list[tuple[list[int], str]]:
        """Of every object that tokens name, which of them do, and its class.

        Args:
            tokens: of :func:`tokens_of`.
        """
        kept = list(range(len(tokens)))
        if any(self.singular(token) == "toilet" for token in tokens):
            # Then a seat is the toilet's wherever it stands, and no chair.
            kept = [place for place in kept if self.singular(tokens[place]) != "seat"]
        found, position = [], 0
        while position < len(kept):
            runs = (kept[position : position + size] for size in range(_LONGEST, 0, -1))
            named = ((run, self._named([tokens[place] for place in run])) for run in runs)
            run, kind = next((pair for pair in named if pair[1] is not None), ([position], ""))
            found += [(run, kind)] if kind else []
            position += len(run)
        return found

    def _named(self, words: Sequence[str]) -> str | None:
        """The class that words name in the singular; None if they name none."""
        return self.class_of.get(" ".join(map(self.singular, words)))


def _names(table: Path) -> dict[str, str]:
    """The class of each name of a table."""
    # Parted at ", " alone, as published: a name with one more space is another name.
    groups = [line.strip().split(", ") for line in read_text(table).splitlines() if line.strip()]
    if len(groups) < 2 or not any(len(group) > 1 for group in groups):
        raise InputError(
            f"{table} holds {len(groups)} lines; expected two or more of 'class, synonym, synonym'"
        )
    return {name: group[0] for group in reversed(groups) for name in reversed(group)}


def _phrases(names: Mapping[str, str]) -> dict[str, str]:
    """The class of pairs of words that mean something else than their last word alone."""
    pairs = [(_BEFORE_ANIMALS, _ANIMALS), (_BEFORE_VEHICLES, _VEHICLES)]
    longer = {
        f"{before} {name}": names.get(name, "")
        for firsts, seconds in pairs
        for before in firsts
        for name in seconds
    }
    return dict.fromkeys(_NO_OBJECTS, "") | longer


@dataclass(frozen=True)
class ChairScores(Generic[ImageId]):
    """How often captions name what is not there; 0 is best.

    Attributes:
        chair_s: Captions with a hallucinated object by the number of captions, in [0, 1].
        chair_i: Hallucinated mentions by the number of mentions, in [0, 1]; 0 without any.
        mentioned: Of each image, the classes its caption names, in order.
        hallucinated: Of each image, those of them that it lacks.
    """

    chair_s: float
    chair_i: float
    mentioned: dict[ImageId, list[str]]
    hallucinated: dict[ImageId, list[str]]

    def share(self, image: ImageId) -> float | None:
        """Hallucinated mentions of an image by its mentions, in [0, 1]; None without any."""
        mentions = len(self.mentioned[image])
        return len(self.hallucinated[image]) / mentions if mentions else None


def chair(
    captions: Mapping[ImageId, str],
    references: Mapping[ImageId, Sequence[str]],
    objects: Mapping[ImageId, Collection[str]],
    *,
    synonyms: Synonyms,
) -> ChairScores[ImageId]:
    """Compares the objects that captions name with those that the images show.

    Args:
        captions: One of each image.
        references: What people wrote of it; what they name is there.
        objects: Classes that its annotations show.
        synonyms: Names of the classes.

    Raises:
        InputError: There is no caption, an image has no annotation of objects, or an object is of
            a class that the table lacks.
    """
    if not captions:
        raise InputError("there are no captions to look for objects in; give at least one")
    bare = [image for image in captions if image not in objects]
    if bare:
        raise InputError(
            f"{who_has('image', bare)} a caption but no entry in the instances; give the instances "
            "of all images"
        )
    _check_classes(captions, objects, synonyms)
    mentioned = {image: synonyms.mentions(caption) for image, caption in captions.items()}
    hallucinated = {}
    for image, names in mentioned.items():
        there = {synonyms.class_of.get(name, name) for name in objects[image]}
        there.update(*map(synonyms.mentions, references.get(image, ())))
        hallucinated[image] = [name for name in names if name not in there]
    mentions = sum(map(len, mentioned.values()))
    return ChairScores(
        chair_s=sum(map(bool, hallucinated.values())) / len(captions),
        chair_i=sum(map(len, hallucinated.values())) / max(1, mentions),
        mentioned=mentioned,
        hallucinated=hallucinated,
    )


def _check_classes(
    images: Collection[ImageId],
    objects: Mapping[ImageId, Collection[str]],
    synonyms: Synonyms,
) -> None:
    """Refuses classes that no caption could name: they would only count as hallucinated."""
    classes = {name for image in images for name in objects[image]}
    known = {*synonyms.class_of, *synonyms.class_of.values()}
    unknown = sorted(map(repr, classes - known))
    if unknown:
        raise InputError(
            f"the table of synonyms lacks the classes {shown(unknown)} of the instances; "
            "add a line for each"
        )
