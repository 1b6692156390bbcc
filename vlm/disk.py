"""Room on disks, and sizes for people."""

import shutil
from pathlib import Path


def existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    whole = folder.absolute()
    return next(path for path in (whole, *whole.parents) if path.exists())


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder is on, or would be."""
    return shutil.disk_usage(existing(folder)).free


def in_words(size: float) -> str:
    """Bytes for people: 4 kB, 12 MB, 1.9 GB."""
    if size < 1e6:
        return f"{size / 1e3:,.0f} kB"
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"
