"""Finding: one line of ``vlm doctor``, and what cannot be looked into told as one."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from vlm.errors import InputError


class Finding(NamedTuple):
    """What was found about one subject.

    Attributes:
        status: ``fail`` for what stops later work, ``warn`` for what may.
        subject: that was looked at.
        told: what was found and, where that is not well, the remedy behind a semicolon.
    """

    status: Literal["ok", "warn", "fail"]
    subject: str
    told: str

    def __str__(self) -> str:
        return f"{self.status:<4}  {self.subject}: {self.told}"


def ok(subject: object, found: str) -> Finding:
    """All is well."""
    return Finding("ok", str(subject), found)


def warn(subject: object, found: str, remedy: str) -> Finding:
    """What may fail later."""
    return Finding("warn", str(subject), f"{found}; {remedy}")


def fail(subject: object, found: str, remedy: str) -> Finding:
    """What will fail later."""
    return Finding("fail", str(subject), f"{found}; {remedy}")


def refused(subject: object, error: InputError) -> Finding:
    """What some part of the package refuses; its sentence says what to do."""
    return Finding("fail", str(subject), " ".join(str(error).split()))


def guarded(subject: object, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings up to the first that cannot be had, which is told as one."""
    try:
        yield from findings
    except InputError as error:
        yield refused(subject, error)
    except OSError as error:
        what = f"{error.filename or 'a file'} cannot be read ({error.strerror or 'damaged'})"
        yield fail(subject, what, "make it readable")
