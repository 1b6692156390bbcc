"""Pickles of plain values and numpy arrays; one that asks for anything else is refused."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vlm.errors import InputError

ARRAYS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 spells bytes
}
"""All that a pickle may call: what numpy puts arrays together with."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows arrays, numbers, texts and their containers, no other class or function."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        module_name = module_name.replace("numpy.core.", "numpy._core.")
        if (module_name, global_name) not in ARRAYS:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def read_pickle(file: Path) -> Any:
    """What a pickle file holds, of Python 2 too.

    Raises:
        InputError: if it is cut off or holds anything else.
    """
    with file.open("rb") as stream:
        return _load(file, stream)


def read_object_array(file: Path) -> Any:
    """The Python object that an ``.npy`` file holds in place of an array.

    Raises:
        InputError: if it holds none, is cut off or holds anything but plain values and arrays.
    """
    with file.open("rb") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, kind = read(stream)
        except Exception as error:  # damaged headers raise nearly anything
            raise InputError(f"{file} is no whole numpy file; fetch it again") from error
        if not kind.hasobject:
            raise InputError(f"{file} is no whole numpy file; fetch it again")
        array = _load(file, stream)
    return array.item() if isinstance(array, np.ndarray) and shape == () else array


def _load(file: Path, stream: Any) -> Any:
    try:
        return _PlainUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise nearly anything
        raise InputError(
            f"{file} is no pickle of plain values and arrays, or was cut off; others are not "
            "read, for they can run code, so write it again as .npz or JSON"
        ) from error
