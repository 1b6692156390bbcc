"""Lists of images: what a COCO file or JSON lines name, and where the files lie."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from vlm.errors import InputError
from vlm.files import read_json
from vlm.formats.captions import read_captions
from vlm.formats.fields import records
from vlm.formats.ids import Id, refuse_doubles

FORM = "expected COCO JSON with 'images' of id and file_name, or JSON lines (.jsonl)"


class ListedImage(NamedTuple):
    """An image of a list.

    Attributes:
        image_id: unique in the list.
        name: of its file, relative to the folder of images.
        path: of its file.
    """

    image_id: Id
    name: str
    path: Path


def listed(paths: Iterable[Path], folder: Path) -> list[ListedImage]:
    """Image files below a folder, each with its name there as its id."""
    names = ((path.relative_to(folder).as_posix(), path) for path in paths)
    return [ListedImage(name, name, path) for name, path in names]


def read_image_list(file: Path, folder: Path | None = None) -> list[ListedImage]:
    """The images that a COCO file of any kind or JSON lines list, in the file's order.

    Args:
        file: COCO JSON with ``images`` (``id``, ``file_name``), or lines with ``image`` and
            perhaps ``id``; also gzipped.
        folder: that image names are relative to; when not given, of those near the file the
            first one that holds the first image.

    Raises:
        InputError: if the file is missing, cut off, lists no image or one id twice, or no
            folder near it holds its first image.
    """
    if file.name.removesuffix(".gz").endswith(".jsonl"):
        here = Path()
        names = [(row.image_id, row.path.as_posix()) for row in read_captions(file, here)]
    else:
        names = list(_of_coco(file))
    refuse_doubles(file, "image", (image_id for image_id, _ in names))
    folder = folder or _folder_near(file, names[0][1])
    return [ListedImage(image_id, name, folder / name) for image_id, name in names]


def _of_coco(file: Path) -> Iterator[tuple[Id, str]]:
    tree = read_json(file)
    images = tree.get("images") if isinstance(tree, dict) else None
    if not isinstance(images, list) or not images:
        raise InputError(f"{file} lists no images; {FORM}")
    rows = records(file, tree, "images", form=FORM)
    yield from zip(rows.ids("id"), rows.texts("file_name"), strict=True)


def _folder_near(file: Path, name: str) -> Path:
    """The file's own folder, one called images, or one called as the split, near the file."""
    split = file.name.split(".")[0].rpartition("_")[2]
    above = file.parent.parent
    near = [file.parent, file.parent / "images", above / "images", above / split, above]
    for folder in near:
        if (folder / name).is_file():
            return folder
    raise InputError(
        f"no folder near {file} holds its first image {name}; name the folder with --folder"
    )
