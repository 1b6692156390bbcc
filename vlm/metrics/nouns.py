"""Words of a text that name a category of object, by CHAIR's names, and the objects themselves."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from vlm.formats.instances import Instance, Scene
from vlm.formats.masks import Mask, union_mask
from vlm.metrics.hallucination import Synonyms, tokens_of
from vlm.text.singular import singular


def names_of_objects(table: Path | None) -> Synonyms:
    """The names in a table, lines of ``class, synonym, synonym``; our own where there is none.

    Plurals are ours with any table, for there is no published program to equal here.
    """
    if table is None:
        return Synonyms.own()
    return Synonyms.published(table)._replace(singular=singular)


class Mention(NamedTuple):
    """A category that a text names.

    Attributes:
        places: of the words that name it, several for ``traffic light``.
        category: as :attr:`Nouns.category_of` has it.
    """

    places: tuple[int, ...]
    category: str


class Nouns:
    """Finds the words that name objects of listed categories.

    A category is named by its own name, by what a table of synonyms has for it, and by the plurals
    of both; the longest name counts. A table's names for categories that are not listed name
    nothing, as nobody could say whether such an object is there.

    Args:
        categories: by name, as instances list them.
        synonyms: the table; one of COCO's classes is no hindrance for other categories.

    Attributes:
        category_of: from a listed name to the category: the table's class if it has the name, so
            that two spellings of one are one.
    """

    def __init__(self, categories: Collection[str], synonyms: Synonyms) -> None:
        spelled = {name: " ".join(name.lower().replace("_", " ").split()) for name in categories}
        self.category_of = {
            name: synonyms.class_of.get(spelling) or spelling for name, spelling in spelled.items()
        }
        listed = set(self.category_of.values())
        # What is not listed still takes its words: a hot dog is no dog.
        class_of = {
            name: kind if kind in listed else "" for name, kind in synonyms.class_of.items()
        }
        for name, spelling in spelled.items():
            words = " ".join(map(synonyms.singular, spelling.split()))
            class_of[spelling] = class_of[words] = self.category_of[name]
        self._synonyms = synonyms._replace(class_of=class_of)

    def mentions(self, words: Sequence[str]) -> list[Mention]:
        """What a text names, in order.

        Args:
            words: of the text, perhaps with marks at their edges.
        """
        tokens = [(token, place) for place, word in enumerate(words) for token in tokens_of(word)]
        found = self._synonyms.places([token for token, _ in tokens])
        return [
            Mention(tuple(dict.fromkeys(tokens[token][1] for token in run)), category)
            for run, category in found
        ]


class Word(NamedTuple):
    """A word of a text, or several, whose object the image shows.

    Attributes:
        text: the word.
        category: that it names.
        mask: of all objects of the category in the image.
        unique: whether that is a single object.
    """

    text: str
    category: str
    mask: Mask
    unique: bool


class Named(NamedTuple):
    """What a text names in one image.

    Attributes:
        mentions: whose object has a mask.
        words: the same, with what is to be seen.
        absent: how many mentions are of a category that the image does not show.
        unmasked: how many are of one of which an object has no outline or no pixel.
    """

    mentions: list[Mention]
    words: list[Word]
    absent: int
    unmasked: int


class SceneObjects:
    """The objects of an image by category; the mask of a category is made once, when asked for.

    Args:
        scene: the image.
        nouns: of the categories.
    """

    def __init__(self, scene: Scene, nouns: Nouns) -> None:
        self._scene = scene
        self._nouns = nouns
        self._objects: dict[str, list[Instance]] = {}
        for instance in scene.objects:
            category = nouns.category_of[instance.category]
            self._objects.setdefault(category, []).append(instance)
        self._masks: dict[str, Mask | None] = {}

    def named(self, words: Sequence[str]) -> Named:
        """What a text names here.

        Raises:
            InputError: if the outline of an object is none.
        """
        found = Named([], [], 0, 0)
        for mention in self._nouns.mentions(words):
            if mention.category not in self._objects:
                found = found._replace(absent=found.absent + 1)
            elif (mask := self._mask(mention.category)) is None:
                found = found._replace(unmasked=found.unmasked + 1)
            else:
                objects = self._objects[mention.category]
                text = " ".join(words[place] for place in mention.places)
                unique = len(objects) == 1 and not objects[0].crowd
                found.mentions.append(mention)
                found.words.append(Word(text, mention.category, mask, unique))
        return found

    def _mask(self, category: str) -> Mask | None:
        if category not in self._masks:
            self._masks[category] = union_mask(self._scene, self._objects[category])
        return self._masks[category]
