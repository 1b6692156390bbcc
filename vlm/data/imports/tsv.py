"""Published tables of features: base64 in tab-separated lines.

By their number of columns, for there is seldom a header line:

* 6, bottom-up attention (Anderson et al. 2018): image_id, image_w, image_h, num_boxes, boxes,
  features.
* 10, LXMERT (Tan and Bansal 2019): img_id, img_h, img_w, objects_id, objects_conf, attrs_id,
  attrs_conf, num_boxes, boxes, features.
* 3, VinVL (Zhang et al. 2021): image_id, num_boxes, features.
* 2, Oscar's and VinVL's captioning sets: image_id, JSON of num_boxes and features.

The last six numbers of a VinVL region are its place, x0 y0 x1 y1 width height in [0, 1]; they
stay in its features, as its own models read them, and its box is taken from them.
"""

import binascii
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from vlm.data.imports.imported import FRACTIONS, Published
from vlm.errors import InputError

BOTTOM_UP = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf"),
    *("attrs_id", "attrs_conf", "num_boxes", "boxes", "features"),
)
VINVL = ("image_id", "num_boxes", "features")
OSCAR = ("image_id", "json")
COLUMNS = {len(names): names for names in (BOTTOM_UP, LXMERT, VINVL, OSCAR)}

PLACE = 6  # numbers of a VinVL region's place
LONGEST_LINE = 2**28  # 100 boxes of width 2048 take 2**20 bytes

Row = Mapping[str, bytes]


def read_tsv(file: Path) -> Iterator[Published]:
    """The images of a table, in its order, a line in memory at a time.

    Args:
        file: also gzipped.

    Raises:
        InputError: naming line and image, if a line is cut off or another layout's, or its
            numbers do not match.
    """
    names: tuple[str, ...] | None = None
    for number, line in enumerate(_lines(file), start=1):
        fields = line.rstrip(b"\r\n").split(b"\t")
        if names is None:
            names, is_header = _names(file, fields)
            if is_header:
                continue
        if len(fields) != len(names):
            raise InputError(
                f"{file}, line {number}: expected {len(names)} columns as in the first line, "
                f"got {len(fields)}; the file may have been cut off, fetch it again"
            )
        yield _image(file, number, dict(zip(names, fields, strict=True)))


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            while line := stream.readline(LONGEST_LINE):
                if len(line) >= LONGEST_LINE:
                    raise InputError(
                        f"{file} has a line of {LONGEST_LINE} bytes or more, as no table of "
                        "features has; fetch it again"
                    )
                if line.strip():
                    yield line
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it was cut off or is no gzip"
        raise InputError(f"{file} cannot be read ({reason}); fetch it again") from error


def _names(file: Path, fields: list[bytes]) -> tuple[tuple[str, ...], bool]:
    """The columns by the first line, and whether that is a header."""
    names = COLUMNS.get(len(fields))
    if fields[0] in (b"image_id", b"img_id"):
        given = tuple(field.decode(errors="replace") for field in fields)
        names = next((known for known in COLUMNS.values() if set(known) == set(given)), None)
        if names is not None:
            return given, True
    if names is None:
        understood = "; ".join(", ".join(known) for known in COLUMNS.values())
        raise InputError(
            f"{file}: expected the columns {understood}; got {len(fields)}, the first "
            f"being {_shown(fields[0])}; give one of these tables"
        )
    return names, False


def _image(file: Path, number: int, row: Row) -> Published:
    name = _shown(row.get("image_id") or row.get("img_id", b""))
    if not name:
        raise InputError(f"{file}, line {number} names no image; fetch the file again")
    where = f"{file}, line {number}, image {name}"
    if "json" in row:
        row = _unpacked(where, row["json"])
    regions = _count(where, "num_boxes", row)
    features = _floats(where, "features", row, regions)
    if "boxes" not in row:
        return Published(file, name, features, _places(where, features), FRACTIONS)
    # LXMERT's columns have the names of the older ones but for their first letters.
    prefix = "image" if "image_w" in row else "img"
    size = (_count(where, f"{prefix}_h", row), _count(where, f"{prefix}_w", row))
    return Published(file, name, features, _floats(where, "boxes", row, regions), size, size)


def _unpacked(where: str, text: bytes) -> Row:
    """What Oscar writes as JSON in a column."""
    try:
        content = json.loads(text)
        return {
            "num_boxes": str(content["num_boxes"]).encode(),
            "features": content["features"].encode(),
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{where}: expected JSON of num_boxes and features, got {_shown(text)}; give the "
            "feature table (features.tsv or *.feature.tsv)"
        ) from error


def _count(where: str, column: str, row: Row) -> int:
    text = row[column].strip()
    # Some programs write whole numbers as 480.0.
    digits = text.removesuffix(b".0")
    if not digits.isdigit() or len(digits) > 9 or int(digits) < 1:
        raise InputError(
            f"{where}: expected a whole number of 1 or more as {column}, got {_shown(text)}; "
            "fetch the file again"
        )
    return int(digits)


def _floats(where: str, column: str, row: Row, regions: int) -> np.ndarray:
    """The numbers of all regions, ``(regions, whatever divides them)``."""
    try:
        data = binascii.a2b_base64(row[column], strict_mode=True)
    except binascii.Error as error:
        raise InputError(
            f"{where}: the {column} are not whole base64; the file may have been cut off, "
            "fetch it again"
        ) from error
    if not data or len(data) % (4 * regions):
        raise InputError(
            f"{where}: expected {column} of {regions} regions as 32-bit floats, "
            f"got {len(data)} bytes; fetch the file again"
        )
    return np.frombuffer(data, "<f4").reshape(regions, -1)


def _places(where: str, features: np.ndarray) -> np.ndarray:
    """The boxes that stand at the end of VinVL's features."""
    corners, sides = features[:, -PLACE:-2], features[:, -2:]
    placed = features.shape[1] > PLACE
    if placed:
        with np.errstate(invalid="ignore"):  # infinity less infinity
            placed = np.allclose(corners[:, 2:] - corners[:, :2], sides, atol=1e-3)
    if not placed:
        raise InputError(
            f"{where}: expected features that end with x0 y0 x1 y1 width height in parts of the "
            "image, as VinVL's do; give such a table, or one with boxes"
        )
    return corners


def _shown(text: bytes) -> str:
    return text[:60].decode(errors="replace").strip()
