"""Photos that training and evaluation share, by id, by file, and across the years of COCO."""

import re
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

from vlm.errors import InputError
from vlm.formats.ids import Id, shown

# COCO_val2014_000000000042.jpg of 2014 and 000000000042.jpg of 2017 are one photo.
_COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})(?:\.\w+)?")


class Listed(Protocol):
    """An image of a split, a ``CaptionSample`` say."""

    @property
    def image_id(self) -> Id:
        """Of the image, unique in its set."""
        ...

    @property
    def path(self) -> Path:
        """Of its file."""
        ...


def refuse_shared(
    train: Iterable[Listed], evaluation: Iterable[Listed], *, split: str = "evaluation"
) -> None:
    """Holds that no image that is scored was trained on.

    Args:
        train: images that are trained on.
        evaluation: images that are scored.
        split: what the latter are called.

    Raises:
        InputError: naming the ids of those that are in both, see :func:`shared_ids`.
    """
    ids = shared_ids(train, evaluation)
    if ids:
        raise InputError(
            f"expected no image in both train and {split}, got {len(ids)}: {shown(ids)}; "
            "remove them from the training file, or scores tell what was learnt by heart"
        )


def shared_ids(first: Iterable[Listed], second: Iterable[Listed]) -> list[Id]:
    """The ids of images that are in both, as the second has them.

    Two images are one where their files are, where their names have the same number of COCO,
    whichever its year and split, or where their ids are: a text wherever the files lie, a
    number only under files of one name, since other sets count from one, too.
    """
    known = {key for image in first for key in _keys(image)}
    return [image.image_id for image in second if not known.isdisjoint(_keys(image))]


def coco_number(name: str) -> int | None:
    """The id that the name of a COCO image file tells, of any year; None for other names."""
    found = _COCO_NAME.fullmatch(name)
    return int(found[1]) if found else None


def _keys(image: Listed) -> Iterator[Hashable]:
    """What an image is known by; one in common makes two images one."""
    number = coco_number(image.path.name)
    if number is not None:
        yield "coco", number
        return
    yield "file", str(image.path)
    if isinstance(image.image_id, str):
        number = coco_number(Path(image.image_id).name)
        yield ("id", image.image_id) if number is None else ("coco", number)
    else:
        yield "id", image.image_id, image.path.name
