"""Maps of what each word looked at: what they are, their reductions by name, their file."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlm.errors import InputError

LAST = "last"
ARRAYS = ("weights", "map", "words", "probabilities", "boxes")
HEAD = re.compile(r"layer-(\d+)(?:-head-(\d+))?")


class WordMaps(NamedTuple):
    """Where every word of one text looked.

    Attributes:
        words: of the caption, or of the question and then its answer as one more.
        weights: ``(layer, head, word, region)`` float32, of cross-attention; rows sum to 1.
        map: ``(word, region)`` float32, the reduction; rows sum to 1, none below 0.
        reduction: its name.
        probabilities: ``(word,)`` float32 in [0, 1], of each word of a caption after those before
            it, and of an answer; NaN for the words of a question, which were given, and where
            nobody asked.
        boxes: ``(region, 4)`` float32 as x0 y0 x1 y1 in [0, 1] of the original, upright image.
        image: the image's file, as it was given; empty where nobody said.
    """

    words: tuple[str, ...]
    weights: NDArray[np.float32]
    map: NDArray[np.float32]
    reduction: str
    probabilities: NDArray[np.float32]
    boxes: NDArray[np.float32]
    image: str = ""


def reductions_of_weights(layers: int, heads: int) -> list[str]:
    """Names of the reductions that weights alone give.

    ``last`` (layer, mean of its heads), ``mean`` (of all heads of all layers), ``layer-1`` to
    the last (mean of its heads), ``layer-1-head-1`` to the last head of the last layer.
    """
    places = range(1, layers + 1)
    single = [f"layer-{layer}-head-{head}" for layer in places for head in range(1, heads + 1)]
    return [LAST, "mean", *(f"layer-{layer}" for layer in places), *single]


def reduced_weights(weights: NDArray) -> dict[str, NDArray]:
    """``(layer, head, word, region)`` to ``(word, region)`` of every one of these reductions.

    There is none where there is no layer or no head.
    """
    layers, heads = weights.shape[:2]
    if not layers or not heads:
        return {}
    of_layers, of_heads = weights.mean(axis=1), weights.reshape(layers * heads, *weights.shape[2:])
    rows = [of_layers[-1], of_layers.mean(axis=0), *of_layers, *of_heads]
    return dict(zip(reductions_of_weights(layers, heads), rows, strict=True))


def reduce_weights(weights: NDArray, name: str) -> NDArray:
    """One of them.

    Raises:
        InputError: if there is no such reduction, layer or head.
    """
    known = reduced_weights(weights)
    if name not in known:
        raise InputError(f"there is no reduction {name!r}; {told(list(known))}")
    return known[name]


def told(names: Sequence[str]) -> str:
    """Names of reductions for an error, the heads as a range."""
    single = [name for name in names if "-head-" in name]
    whole = [name for name in names if name not in single]
    heads = f", {single[0]} to {single[-1]}" if single else ""
    return f"there are {', '.join(whole)}{heads}"


def write_word_maps(path: Path, maps: WordMaps) -> None:
    """Writes one ``.npz`` file: `ARRAYS`, and ``reduction`` and ``image`` as text."""
    content: dict[str, Any] = maps._asdict() | {"words": np.array(maps.words, dtype=np.str_)}
    with path.open("wb") as file:
        np.savez_compressed(file, **content)


def read_word_maps(path: Path) -> WordMaps:
    """Reads one ``.npz`` file, ours or another program's: ``reduction`` and ``image`` may lack.

    Raises:
        InputError: if it is no such file, or its arrays do not fit each other.
    """
    try:
        # A stream of our own: numpy leaves a file open that turns out to be no archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is no file of maps (.npz) as vlm attend --npz writes") from error
    missing = [name for name in ARRAYS if name not in content]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}; vlm attend --npz writes {ARRAYS}")
    numbers = {name: content[name] for name in ARRAYS if name != "words"}
    odd = [name for name, array in numbers.items() if array.dtype.kind not in "fiu"]
    if odd:
        raise InputError(f"{path}: {', '.join(odd)} has values that are no numbers; write it anew")
    flat = [name for name, array in numbers.items() if array.ndim < 1]
    if flat:
        raise InputError(f"{path}: {', '.join(flat)} is a single value; write the file anew")
    maps = WordMaps(
        words=tuple(str(word) for word in np.atleast_1d(content["words"])),
        weights=content["weights"].astype(np.float32),
        map=content["map"].astype(np.float32),
        reduction=str(content.get("reduction", "map")),
        probabilities=content["probabilities"].astype(np.float32),
        boxes=content["boxes"].astype(np.float32),
        image=str(content.get("image", "")),
    )
    _check(maps, path)
    return maps


def _check(maps: WordMaps, path: Path) -> None:
    words, regions = len(maps.words), len(maps.boxes)
    shapes = {
        "map": (maps.map.shape, (words, regions)),
        "probabilities": (maps.probabilities.shape, (words,)),
        "boxes": (maps.boxes.shape, (regions, 4)),
        "weights": (maps.weights.shape, (*maps.weights.shape[:2], words, regions)),
    }
    for name, (found, expected) in shapes.items():
        if found != expected:
            raise InputError(
                f"{path}: {words} words and {regions} boxes need {name} of {expected}, "
                f"got {found}; write the file anew"
            )
    for name, rows in (("map", maps.map), ("weights", maps.weights)):
        if not (np.isfinite(rows).all() and (rows >= 0).all()):
            raise InputError(f"{path}: {name} has values below 0 or not finite; write it anew")
        if not np.allclose(rows.sum(axis=-1), 1, rtol=0, atol=1e-3):
            raise InputError(f"{path}: a row of {name} does not sum to 1; write the file anew")
