"""Objects that are in images: the category names of COCO instances JSON."""

from pathlib import Path

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.ids import Id


def read_objects(file: Path) -> dict[Id, set[str]]:
    """The categories that each image of a COCO instances file shows, by their names.

    Raises:
        InputError: if the file is missing, cut off or of another kind.
    """
    tree = read_json(file)
    try:
        names = {category["id"]: category["name"] for category in tree["categories"]}
        objects: dict[Id, set[str]] = {image["id"]: set() for image in tree["images"]}
        for row in tree["annotations"]:
            objects[row["image_id"]].add(names[row["category_id"]])
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not a whole COCO instances file ({error!r}); expected 'images' with id, "
            "'categories' with id and name, 'annotations' with image_id and category_id"
        ) from error
    return objects
