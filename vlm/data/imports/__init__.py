"""Detector features that others published, image by image, whatever file they come in.

* ``*.tsv``, also ``*.tsv.0`` and gzipped: bottom-up attention, LXMERT, Oscar and VinVL.
* ``*.hdf5``, ``*.h5``: M2 transformer, DLCT, bottom-up-attention-vqa, BAN.
* A folder of ``*.npz``: bottom-up-attention.pytorch, OpenVQA, UNITER, ImageCaptioning.pytorch.
* A folder of ``*.npy``: MMF and Pythia, ImageCaptioning.pytorch.
* A folder of tables or HDF5 files: one after another, by name.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path

from vlm.data.imports.arrays import read_arrays
from vlm.data.imports.hdf5 import read_hdf5
from vlm.data.imports.imported import ImportedImage, Published, check, image_id_of
from vlm.data.imports.tsv import read_tsv
from vlm.errors import InputError
from vlm.formats.ids import Id

__all__ = ["ImportedImage", "read_features"]

UNDERSTOOD = "a .tsv or .hdf5 file, a folder of them, or one of .npz or .npy files, one an image"


def read_features(
    path: Path, *, sizes: Mapping[Id, tuple[int, int]] | None = None
) -> Iterator[ImportedImage]:
    """Published features, one image after another; only their ids are kept in memory.

    Tables give their own order, everything else is sorted by id. Boxes that are published in
    pixels become parts of the image by the size published with them, else by ``sizes``; those
    that lie within [0, 1] already stay. Without any boxes each region has the whole image as
    its box, but for maps (rows, columns, width), whose cells have theirs.

    Args:
        path: of a file or folder in one of the layouts above.
        sizes: (height, width) in pixels of the original images by id, such as
            :func:`vlm.formats.detections.read_sizes` reads from a COCO JSON. They are told
            as the images' sizes even where the publication has its own.

    Raises:
        InputError: if there is no such file, no layout fits, or h5py is needed and absent.
            While iterating: if a file is cut off or holds no image, or an image comes twice,
            has features that are not finite or of another width than those before, or boxes
            that do not match them, lie beyond the image or need a size that nobody gave.
    """
    published = _published(path)
    known = {image_id_of(str(key)): size for key, size in (sizes or {}).items()}
    return _checked(path, published, known)


def _published(path: Path) -> Iterator[Published]:
    """What a path holds, by its name."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise InputError(f"features {path} do not exist; check the path")
    read = _reader(path)
    if read is None:
        raise InputError(f"{path} is no file of features that can be read; give {UNDERSTOOD}")
    return read(path)


def _folder(folder: Path) -> Iterator[Published]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    tables = [(file, read) for file in files if (read := _reader(file))]
    arrays = [file for file in files if file.suffix in (".npz", ".npy")]
    if tables and arrays:
        raise InputError(
            f"{folder} holds both {tables[0][0].name} and {arrays[0].name}; "
            "give one of them, or a folder of one kind"
        )
    if tables:
        return chain.from_iterable(read(file) for file, read in tables)
    if arrays:
        return read_arrays(folder, arrays)
    found = f"no features but {files[0].name}" if files else "no file"
    raise InputError(f"{folder} holds {found}; give {UNDERSTOOD}")


def _reader(file: Path) -> Callable[[Path], Iterator[Published]] | None:
    """What reads a file of many images; None if nothing does."""
    if re.search(r"\.tsv(\.\d+)?(\.gz)?$", file.name):
        return read_tsv
    return read_hdf5 if file.suffix in (".hdf5", ".h5") else None


def _checked(
    path: Path, published: Iterator[Published], sizes: Mapping[Id, tuple[int, int]]
) -> Iterator[ImportedImage]:
    """Holds what concerns several images: ids once, one width, one image at least."""
    seen: set[Id] = set()
    width = 0
    for found in published:
        image = check(found, sizes)
        width = width or image.features.shape[1]
        if image.features.shape[1] != width:
            raise InputError(
                f"{found.where} has features of width {image.features.shape[1]}, those before it "
                f"have {width}; import one kind of features at a time, or fetch the file again "
                "if it was cut off"
            )
        if image.image_id in seen:
            raise InputError(
                f"{found.where} comes a second time in {path}, as id {image.image_id}; keep one"
            )
        seen.add(image.image_id)
        yield image
    if not seen:
        raise InputError(f"{path} holds no image; fetch or write it again")
