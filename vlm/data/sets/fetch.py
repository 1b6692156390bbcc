"""Files from the network: resumed, tried again, from mirrors, and held to size and checksum."""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from vlm import __version__
from vlm.disk import free_bytes
from vlm.errors import InputError

Progress = Callable[[int, int | None], None]
"""Told how many bytes are there and how many there will be, None where nobody knows."""

TIMEOUT = 60.0
BLOCK = 1 << 20
# An attempt that brought this many bytes was worth it, and is not counted as failed.
WORTH = 1 << 20
LONGEST_PAUSE = 30.0
BROKE_OFF = "broke off the connection"
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
REMEDY = (
    "run the same line again to go on, or give a mirror or a folder that has it as --from PLACE"
)


class _RefusedError(Exception):
    """What a place offers cannot be used, however often it is asked."""


class _StaleError(Exception):
    """What an earlier attempt left cannot be continued here."""


class _BrokenError(Exception):
    """A connection that did not come about or broke off; another attempt may be luckier."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    check: Callable[[Path], str | None] | None = None,
    attempts: int = 5,
    pause: float = 1.0,
    progress: Progress | None = None,
) -> None:
    """Brings a file from the first address that has it whole.

    What comes is kept in ``NAME.partial`` and gets its name when it is whole and right. A part
    that an earlier run left is continued where size or checksum can tell that it belongs.

    Args:
        urls: http(s) addresses, tried in this order.
        target: file to be written; its folder is made.
        size: that it must have, in bytes.
        checksum: that it must have, ``sha256:...`` or ``md5:...``.
        check: tells what is wrong with a file that has both, None where nothing is.
        attempts: in a row that bring less than a mebibyte before an address is given up.
        pause: seconds before the second attempt, doubled for each further one.
        progress: told of every block.

    Raises:
        InputError: naming every address and what was wrong there; if the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    if size is None and checksum is None:
        partial.unlink(missing_ok=True)
    reasons = []
    for url in urls:
        download = _Download(url, partial, size, checksum, check, progress)
        reason = download.run(attempts, pause)
        if reason is None:
            partial.replace(target)
            return
        reasons.append(f"{url} {reason}")
    raise InputError(f"{target.name} could not be fetched: {', '.join(reasons)}; {REMEDY}")


def what_is_wrong(file: Path, size: int | None, checksum: str | None) -> str | None:
    """How a file differs from the size and checksum it must have, None where it does not."""
    found = file.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes where {size:,} are expected"
    if checksum is None:
        return None
    algorithm, _, wanted = checksum.partition(":")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, algorithm).hexdigest()
    return None if digest == wanted else f"the {algorithm} {digest} where {wanted} is expected"


def require_room(folder: Path, needed: int) -> None:
    """Holds that a disk has room.

    Args:
        folder: on it; it may have to be made.
        needed: bytes.

    Raises:
        InputError: naming both numbers.
    """
    free = free_bytes(folder)
    if needed > free:
        raise InputError(
            f"{folder} needs {needed / 1e9:,.1f} GB and its disk has {free / 1e9:,.1f} GB free; "
            "make room or give another --output"
        )


class _Download:
    """One file from one address."""

    def __init__(
        self,
        url: str,
        partial: Path,
        size: int | None,
        checksum: str | None,
        check: Callable[[Path], str | None] | None,
        progress: Progress | None,
    ) -> None:
        self.url = url
        self.partial = partial
        self.size = size
        self.checksum = checksum
        self.check = check
        self.progress = progress

    def run(self, attempts: int, pause: float) -> str | None:
        """What went wrong in the end, None where the partial file is whole and right."""
        failed = 0
        while True:
            before = self._there()
            try:
                self._receive(before)
                wrong = self._wrong()
                if wrong is None:
                    return None
                self.partial.unlink()
                if not before:
                    return f"gave {wrong}"
                # The part of an earlier attempt may be at fault: once more, from the start.
                reason = f"gave {wrong}"
            except _RefusedError as error:
                return str(error)
            except _StaleError:
                self.partial.unlink()
                reason = "cannot continue what is there"
            except _BrokenError as error:
                reason = str(error)
            gained = self._there() - before
            failed = 0 if gained >= WORTH else failed + 1
            if failed == attempts:
                return f"{reason}, {attempts} times in a row, at {self._there():,} bytes"
            time.sleep(min(pause * 2 ** max(failed - 1, 0), LONGEST_PAUSE))

    def _there(self) -> int:
        return self.partial.stat().st_size if self.partial.is_file() else 0

    def _wrong(self) -> str | None:
        wrong = what_is_wrong(self.partial, self.size, self.checksum)
        return self.check(self.partial) if wrong is None and self.check else wrong

    def _receive(self, have: int) -> None:
        """Continues the partial file to its end."""
        if self.size is not None and have >= self.size:
            return
        headers = {"User-Agent": f"vlm/{__version__}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            response = urlopen(Request(self.url, headers=headers), timeout=TIMEOUT)
        except HTTPError as error:
            error.close()
            if error.code == 416 and have:
                raise _StaleError from error
            kind = _BrokenError if error.code in PASSING else _RefusedError
            raise kind(f"answered {error.code}") from error
        except (OSError, HTTPException) as error:
            raise _BrokenError(_in_words(error)) from error
        with response:
            self._store(response, have)

    def _store(self, response: HTTPResponse, have: int) -> None:
        """Writes the body behind what is there, or anew where the server sends all of it."""
        if response.status == 206:
            if not (response.headers.get("Content-Range") or "").startswith(f"bytes {have}-"):
                raise _StaleError
        else:
            have = 0  # the server ignores ranges
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        if self.size is not None and total is not None and total != self.size:
            raise _RefusedError(f"offers {total:,} bytes where {self.size:,} are expected")
        require_room(self.partial.parent, (total or self.size or 0) - have)
        try:
            with self.partial.open("ab" if have else "wb") as stream:
                while block := _read(response):
                    stream.write(block)
                    have += len(block)
                    if self.progress is not None:
                        self.progress(have, total or self.size)
        except OSError as error:
            raise InputError(
                f"{self.partial} cannot be written ({error.strerror}) at {self._there():,} bytes; "
                "make room or give another --output, what is there is kept"
            ) from error
        if total is not None and have < total:
            raise _BrokenError(BROKE_OFF)


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise _BrokenError(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    """What went wrong with a connection, behind the address."""
    cause = error.reason if isinstance(error, URLError) else error
    kinds = {
        "is a name that nobody knows here": socket.gaierror,
        "has a certificate that does not hold": ssl.SSLCertVerificationError,
        "did not answer in time": TimeoutError,
        "refuses the connection": ConnectionRefusedError,
    }
    found = (words for words, kind in kinds.items() if isinstance(cause, kind))
    return next(found, BROKE_OFF)
