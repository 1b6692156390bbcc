"""JSON read with one clear sentence when it cannot be, and written whole or not at all."""

import difflib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vlm.errors import InputError


def read_text(file: Path) -> str:
    """A UTF-8 text file, unpacked where its name ends in ``.gz``.

    Raises:
        InputError: if the file is missing (the nearest name is suggested) or unreadable.
    """
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        near = [path.name for path in file.parent.glob("*.json*")] if file.parent.is_dir() else []
        close = difflib.get_close_matches(file.name, near, n=1)
        hint = f"did you mean {close[0]}?" if close else "check the path"
        raise InputError(f"file {file} does not exist; {hint}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"file {file} is not UTF-8 text (byte {error.start}); convert it"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"file {file} cannot be read ({reason}); restore it") from error


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        InputError: if the file is missing, unreadable, empty, or not whole JSON.
    """
    text = read_text(file)
    if not text.strip():
        raise InputError(f"file {file} is empty; fetch or write it again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"file {file} is not whole JSON (line {error.lineno}: {error.msg}); "
            "it may have been cut off, fetch or write it again"
        ) from error
    except (ValueError, RecursionError) as error:  # a number or nesting beyond Python's limits
        raise InputError(f"file {file} cannot be read as JSON ({error}); correct it") from error


def write_json(file: Path, content: Any) -> None:
    """Writes JSON at full precision; a file of that name is whole at every moment.

    Args:
        file: its folder is made; processes may write it at once, the last one's content stays.
        content: of plain dicts, lists, strings and numbers.
    """
    _write_whole(file, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_lines(file: Path, records: Iterable[Any]) -> None:
    """Writes JSON lines, one a record, in the way of :func:`write_json`."""
    _write_whole(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in records))


def require_writable(file: Path) -> None:
    """Holds that a path can name a file to be written.

    Raises:
        InputError: if a folder or a device is there.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{str(file)!r} is there and no file; name a file to write to")


def _write_whole(file: Path, text: str) -> None:
    require_writable(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content, first 16 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
