"""Objects that are in images, of COCO instances JSON: their categories, and their outlines."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.fields import Records, brief, records
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
    images, annotations, names = _lists(file)
    objects: dict[Id, set[str]] = {key: set() for key in images.ids("id")}
    pairs = list(zip(annotations.ids("image_id"), annotations.ids("category_id"), strict=True))
    try:
        for image, category in pairs:
            objects[image].add(names[category])
    except KeyError as error:
        raise InputError(_unlisted(file, pairs, objects, names)) from error
    return objects


class Instance(NamedTuple):
    """One object.

    Attributes:
        category: its name.
        segmentation: polygons or run lengths as the file has them; None where it has none.
        crowd: whether it stands for several.
        entry: of the annotation, as sentences name it.
    """

    category: str
    segmentation: Any
    crowd: bool
    entry: str


class Scene(NamedTuple):
    """An image with its objects.

    Attributes:
        image_id: of the image.
        name: of its file.
        size: height and width in pixels.
        objects: in the order of the file.
        file: that they are from.
    """

    image_id: Id
    name: str
    size: tuple[int, int]
    objects: list[Instance]
    file: Path


def read_scenes(file: Path) -> tuple[list[Scene], list[str]]:
    """The images of a COCO instances file with the outlines of their objects, not yet read.

    Returns:
        the images in their order, and the names of all categories, those of no object too.

    Raises:
        InputError: as :func:`read_objects` does, and if an image has no file name or no size.
    """
    images, annotations, names = _lists(file)
    ids = images.ids("id")
    refuse_doubles(file, "image", ids)
    sizes = zip(_lengths(images, "height"), _lengths(images, "width"), strict=True)
    rows = zip(ids, images.texts("file_name"), sizes, strict=True)
    scenes = {key: Scene(key, name, size, [], file) for key, name, size in rows}
    pairs = list(zip(annotations.ids("image_id"), annotations.ids("category_id"), strict=True))
    try:
        for number, ((image, category), row) in enumerate(
            zip(pairs, annotations.rows, strict=True), start=1
        ):
            crowd = bool(row.get("iscrowd", 0))
            entry = f"annotation {brief(row.get('id', number))}"
            outline = row.get("segmentation") or None
            scenes[image].objects.append(Instance(names[category], outline, crowd, entry))
    except KeyError as error:
        raise InputError(_unlisted(file, pairs, scenes, names)) from error
    return list(scenes.values()), list(dict.fromkeys(names.values()))


def _lists(file: Path) -> tuple[Records, Records, dict[Id, str]]:
    """The images, the annotations, and the names of the categories."""
    tree = read_json(file)
    require_kind(file, tree, INSTANCES, name="annotations", sign="category_id", form=FORM)
    images, annotations = (
        records(file, tree, name, form=FORM) for name in ("images", "annotations")
    )
    return images, annotations, _names(file, tree)


def _lengths(images: Records, field: str) -> list[int]:
    """The heights or widths of images in pixels."""
    values = images.values(field)
    for key, value in zip(images.ids("id"), values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(
                f"{images.file}: expected pixels as '{field}' of image {shown([key])}, "
                f"got {brief(value)}; correct it"
            )
    return values


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
