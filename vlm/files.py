"""JSON read with one clear sentence when it cannot be, and written whole or not at all."""

import difflib
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vlm.errors import InputError

GZIPPED = b"\x1f\x8b"
FOREIGN = {  # how files start that are no UTF-8 text, and what to say of them
    b"\x89PNG": "is a PNG picture, not text; give another file",
    b"\xff\xd8\xff": "is a JPEG picture, not text; give another file",
    b"%PDF": "is a PDF, not plain text; give another file",
    b"PK\x03\x04": "is a zip archive or a workbook, not text; unpack it or name a workbook .xlsx",
    GZIPPED: "is gzipped; end its name in .gz",
    b"\xff\xfe": "is UTF-16 or UTF-32 text; save it as UTF-8",
    b"\xfe\xff": "is UTF-16 text; save it as UTF-8",
}


# --- Reading ---------------------------------------------------------------------------------


@contextmanager
def telling(file: Path) -> Iterator[None]:
    """Within it, a file that cannot be opened or read is told in one sentence.

    Raises:
        InputError: if it is missing (the nearest name is suggested), a folder or unreadable.
    """
    try:
        yield
    except FileNotFoundError as error:
        near = [path.name for path in file.parent.glob("*.json*")] if file.parent.is_dir() else []
        close = difflib.get_close_matches(file.name, near, n=1)
        hint = f"did you mean {close[0]}?" if close else "check the path"
        raise InputError(f"file {file} does not exist; {hint}") from error
    except IsADirectoryError as error:
        raise InputError(f"{file} is a folder; name a file") from error
    except NotADirectoryError as error:
        reason = "a part of its path is a file, not a folder"
        raise InputError(f"file {file} does not exist, {reason}; check the path") from error
    except OSError as error:
        raise InputError(
            f"file {file} cannot be read ({error.strerror}); make it readable or give another"
        ) from error


def read_text(file: Path) -> str:
    """A UTF-8 text file, unpacked where its name ends in ``.gz``.

    Raises:
        InputError: if the file is missing, unreadable, damaged or no UTF-8 text.
    """
    with telling(file):
        data = file.read_bytes()
    if file.suffix == ".gz":
        data = _unpacked(file, data)
    for start, reason in FOREIGN.items():
        if data.startswith(start):
            raise InputError(f"file {file} {reason}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = (
            "is not text; give another file"
            if b"\0" in data
            else f"is not UTF-8 text (byte {error.start}); convert it"
        )
        raise InputError(f"file {file} {reason}") from error


def _unpacked(file: Path, data: bytes) -> bytes:
    if data and not data.startswith(GZIPPED):
        raise InputError(f"file {file} is not gzipped; take .gz off its name")
    try:
        unpacked = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        reason = "cut off" if isinstance(error, EOFError) else "damaged"
        raise InputError(f"file {file} is {reason}; fetch or write it again") from error
    if unpacked.startswith(GZIPPED):
        raise InputError(f"file {file} is gzipped twice; unpack it once")
    return unpacked


def read_json(file: Path, *, by_name: bool = False) -> Any:
    """The content of a JSON file.

    Args:
        file: of one JSON value.
        by_name: whether who reads it would read JSON lines from a file that is named so.

    Raises:
        InputError: if the file is missing, unreadable, empty, or not whole JSON.
    """
    text = read_text(file)
    if not text.strip():
        raise InputError(f"file {file} is empty; fetch or write it again")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and _is_line(text[: error.pos]):
            remedy = f"name it {_named(file, '.jsonl')}" if by_name else "write one JSON value"
            raise InputError(f"file {file} holds JSON lines, not JSON; {remedy}") from error
        place = f"line {error.lineno}: {error.msg}"
        raise InputError(f"file {file} {_fault(text, error, place)}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"file {file} cannot be read as JSON ({_limit(error)}") from error


def read_lines(file: Path, *, by_name: bool = False) -> Iterator[tuple[int, Any]]:
    """Yields the number, from 1, and the content of each line of a JSON-lines file.

    Args:
        file: empty lines in it are left out.
        by_name: whether who reads it would read plain JSON from a file that is named so.

    Raises:
        InputError: if the file is missing, unreadable, or a line is not whole JSON.
    """
    text, first = read_text(file), True
    # Not splitlines(), which would also split at the line separators that a JSON text may hold.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if first:
                _refuse_whole(file, text, by_name=by_name)
            reason = _fault(line, error, error.msg)
            raise InputError(f"{file}, line {number} {reason}") from error
        except (ValueError, RecursionError) as error:
            reason = f"cannot be read as JSON ({_limit(error)}"
            raise InputError(f"{file}, line {number} {reason}") from error
        if first and isinstance(row, list):
            _refuse_whole(file, text, by_name=by_name)
        first = False
        yield number, row


def _refuse_whole(file: Path, text: str, *, by_name: bool) -> None:
    """Tells JSON that stands where lines are expected."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return
    remedy = f"name it {_named(file, '.json')}" if by_name else "write one entry a line"
    raise InputError(f"file {file} holds one JSON value, not JSON lines; {remedy}")


def _is_line(start: str) -> bool:
    """Whether the start of a text, up to where more follows, is one line of it."""
    return start.rstrip(" \t\r").endswith("\n") and "\n" not in start.strip()


def _named(file: Path, suffix: str) -> str:
    """The file's name with another ending of JSON."""
    end = ".gz" if file.suffix == ".gz" else ""
    return file.name.removesuffix(end).removesuffix(".json").removesuffix(".jsonl") + suffix + end


def _fault(text: str, error: json.JSONDecodeError, place: str) -> str:
    """What is wrong with a text that is no JSON, and what to do."""
    if "\0" in text:
        return "is not UTF-8 text, it holds zero bytes; save it as UTF-8"
    if error.msg == "Expecting value" and not text[: error.pos].strip():
        start = text.strip().split("\n")[0][:30]
        return f"is not JSON, it starts with {start!r}; give a JSON file"
    rest = text[error.pos :].rstrip()
    torn = len(rest) < len("-Infinity") and not rest.endswith(("]", "}", '"'))
    if torn or error.msg.startswith("Unterminated"):
        return f"is not whole JSON ({place}); it may have been cut off, fetch or write it again"
    return f"is not whole JSON ({place}); correct it"


def _limit(error: Exception) -> str:
    """Which of our limits JSON passes that is in order otherwise."""
    if isinstance(error, RecursionError):
        return "it is nested too deep); correct it"
    return "a number has thousands of digits); correct it"


# --- Writing ---------------------------------------------------------------------------------


def write_json(file: Path, content: Any) -> None:
    """Writes JSON at full precision; a file of that name is whole at every moment.

    Args:
        file: its folder is made; processes may write it at once, the last one's content stays.
        content: of plain dicts, lists, strings and numbers.

    Raises:
        InputError: if the path cannot name a file.
        OSError: naming the file, if it cannot be written.
    """
    _write_whole(file, _spelled(content, indent=1) + "\n")


def write_lines(file: Path, records: Iterable[Any]) -> None:
    """Writes JSON lines, one a record, in the way of :func:`write_json`."""
    _write_whole(file, "".join(_spelled(row) + "\n" for row in records))


def _spelled(content: Any, indent: int | None = None) -> str:
    """JSON; what is no text in UTF-8, as a file name may be, in escapes."""
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(content, indent=indent)
    return text


def require_writable(file: Path) -> None:
    """Holds that a path can name a file to be written.

    Raises:
        InputError: if a folder or a device is there, or a file where a folder should be.
    """
    if file.exists() and not file.is_file():
        raise InputError(f"{str(file)!r} is there and no file; name a file to write to")
    holder = next((path for path in file.parents if path.exists()), Path())
    if not holder.is_dir():
        raise InputError(
            f"{str(file)!r} cannot be written, as {str(holder)!r} is a file and no folder; "
            "give another path"
        )


def _write_whole(file: Path, text: str) -> None:
    require_writable(file)
    with writing(file) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def writing(file: Path) -> Iterator[Path]:
    """Yields the path to write to, which then becomes the file; its folder is made.

    Raises:
        OSError: naming the file, if it cannot be written; what was there stays.
    """
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(file)) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def file_hash(file: Path) -> str:
    """SHA-256 of a file's content, first 16 hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
