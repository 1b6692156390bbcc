"""Score signatures: how a number was made, in one line that can be compared.

A signature is a pure function of everything that changes the scores it stands beside, and of
nothing else. Two results with one signature are comparable; where they differ, the item says why.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlm import __version__


def caption_signature(
    metrics: Sequence[str],
    references: Mapping[Any, Sequence[str]],
    *,
    frequencies: str = "corpus",
) -> str:
    """The signature of caption scores.

    ``refs`` is the number of references of an image (the fewest and the most), ``tok`` the
    tokenisation, ``split`` a hash of the scored images and their references, ``n`` their number,
    ``dedup`` what is done to repeated words of a candidate (nothing; several published systems
    collapse them), ``df`` where the document frequencies of CIDEr come from, ``vlm`` the version.

    Args:
        metrics: names of the scores.
        references: of the scored images.
        frequencies: ``corpus`` or the hash of stored ones.
    """
    return _line(
        [name.lower() for name in metrics], **_caption_items(references, frequencies=frequencies)
    )


def reward_signature(rewards: Sequence[str], references: Mapping[Any, Sequence[str]]) -> str:
    """The signature of the reward of a self-critical training.

    The items of caption scores, of the training images: document frequencies, where there are
    any, are theirs. Beside them ``end``: the end of a caption is a word of it and of its
    references (several published systems leave it out, and their scores are not comparable).

    Args:
        rewards: names, with their weights.
        references: of the training images.
    """
    return _line(rewards, **_caption_items(references, frequencies="corpus"), end="word")


def _caption_items(
    references: Mapping[Any, Sequence[str]], *, frequencies: str
) -> dict[str, object]:
    counts = [len(captions) for captions in references.values()]
    fewest, most = min(counts), max(counts)
    content = ([str(key), sorted(captions)] for key, captions in references.items())
    return {
        "refs": fewest if fewest == most else f"{fewest}-{most}",
        "tok": "ptb",
        "split": content_hash(content),
        "n": len(counts),
        "dedup": "none",
        "df": frequencies,
    }


def answer_signature(variant: str, human: Mapping[Any, tuple[Sequence[str], str, str]]) -> str:
    """The signature of VQA accuracy.

    ``variant`` is the program whose rules hold, ``answers`` the number of people a question,
    ``split`` a hash of the scored questions with their answers and types, ``n`` their number.

    Args:
        variant: of :data:`vlm.metrics.vqa.VARIANTS`.
        human: for each scored question its answers, answer type and question type.
    """
    counts = [len(answers) for answers, _, _ in human.values()]
    fewest, most = min(counts), max(counts)
    return _line(
        ["vqa"],
        variant=variant,
        answers=fewest if fewest == most else f"{fewest}-{most}",
        split=content_hash([str(key), *row] for key, row in human.items()),
        n=len(counts),
    )


def object_signature(
    synonyms: str,
    objects: Mapping[Any, Iterable[str]],
    references: Mapping[Any, Sequence[str]],
) -> str:
    """The signature of CHAIR: how names are read, and what the images show.

    Args:
        synonyms: hash of the table of names.
        objects: of the scored images, by their annotations.
        references: what people wrote of them.
    """
    content = ([str(key), sorted(names), sorted(references[key])] for key, names in objects.items())
    return _line(["chair"], syn=synonyms, split=content_hash(content), n=len(objects))


def polling_signature(labels: Mapping[Any, str]) -> str:
    """The signature of yes/no scores: the questions with their labels, and their number."""
    content = ([str(key), label] for key, label in labels.items())
    return _line(["pope"], split=content_hash(content), n=len(labels))


def grounding_signature(
    synonyms: str, words: Iterable[Sequence[object]], *, n: int, **how: object
) -> str:
    """The signature of scores of maps: how nouns are read, and the objects that they name.

    ``syn`` is the hash of the table of names, ``split`` one of the scored words with their
    objects, ``n`` the number of images.

    Args:
        synonyms: hash of the table.
        words: of each scored word its image, its text, the category and what tells its mask.
        n: images.
        how: what else the scores depend on.
    """
    return _line(["grounding"], syn=synonyms, split=content_hash(words), n=n, **how)


def content_hash(records: Iterable[Sequence[object]]) -> str:
    """SHA-256 of records in whatever order they come, first 8 hexadecimal digits."""
    digest = hashlib.sha256()
    for line in sorted(json.dumps(record, ensure_ascii=True) for record in records):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()[:8]


def _line(names: Sequence[str], **items: object) -> str:
    pairs = [f"{name}:{value}" for name, value in items.items()]
    return "|".join(["+".join(names), *pairs, f"vlm:{__version__}"])
