"""Objects that are in images: the category names of COCO instances JSON."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.fields import records
from vlm.formats.ids import Id, refuse_doubles, shown
from vlm.formats.kinds import INSTANCES, require_kind

FORM = (
    "expected 'images' with id, 'categories' with id and name, 'annotations' with image_id and "
    "category_id"
)


def read_objects(file: Path) -> dict[Id, set[str]]:
    """The categories that each image of a COCO instances file shows, by their names.

    Raises:
        InputError: if the file is missing, cut off or of another kind, has a category without a
            name or with two, or an object whose image or category it does not list.
    """
    tree = read_json(file)
    require_kind(file, tree, INSTANCES, name="annotations", sign="category_id", form=FORM)
    images, annotations = (
        records(file, tree, name, form=FORM) for name in ("images", "annotations")
    )
    names = _names(file, tree)
    objects: dict[Id, set[str]] = {key: set() for key in images.ids("id")}
    pairs = list(zip(annotations.ids("image_id"), annotations.ids("category_id"), strict=True))
    try:
        for image, category in pairs:
            objects[image].add(names[category])
    except KeyError as error:
        raise InputError(_unlisted(file, pairs, objects, names)) from error
    return objects


def _names(file: Path, tree: Any) -> dict[Id, str]:
    """The names of the categories."""
    categories = records(file, tree, "categories", form=FORM)
    pairs = list(zip(categories.ids("id"), categories.texts("name"), strict=True))
    nameless = [key for key, name in pairs if not name.strip()]
    if nameless:
        raise InputError(f"{file}: the name of category {shown(nameless)} is empty; write one each")
    # A list of categories that was joined from two files is still one name an id.
    refuse_doubles(file, "category", (key for key, _ in dict.fromkeys(pairs)))
    return dict(pairs)


def _unlisted(
    file: Path,
    pairs: Sequence[tuple[Id, Id]],
    images: Collection[Id],
    categories: Collection[Id],
) -> str:
    """Which images or categories of objects are not listed."""
    lost = dict.fromkeys(image for image, _ in pairs if image not in images)
    if lost:
        what = f"objects in image {shown([*lost])}, which 'images' does not list"
        return f"{file} has {what}; add the image or remove them"
    unknown = dict.fromkeys(key for _, key in pairs if key not in categories)
    example = next(image for image, key in pairs if key in unknown)
    what = f"objects of category {shown([*unknown])}, as in image {shown([example])}"
    return f"{file} has {what}, which 'categories' does not list; add the category or remove them"
