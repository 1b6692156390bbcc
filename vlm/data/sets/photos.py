"""Photos that a data set names one by one."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from vlm.data.sets.fetch import fetch
from vlm.errors import InputError

# More failures than these are no accident.
ENOUGH = 20


def fetch_photos(
    names: Sequence[str],
    folder: Path,
    urls: Sequence[str],
    *,
    workers: int = 8,
    attempts: int = 3,
    pause: float = 1.0,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Fetches the photos that are not there yet, several at once; each is whole or not there.

    Args:
        names: of the files.
        folder: that they go to.
        urls: of folders that have them, tried in this order.
        workers: connections at once.
        attempts: at each photo and address.
        pause: seconds before the second attempt.
        progress: told how many of all photos are there.

    Raises:
        InputError: if a name is no plain file name; naming a photo that could not be fetched and
            how many more could not, after every other was tried or many have failed.
    """
    strange = [name for name in names if Path(name).name != name]
    if strange:
        raise InputError(f"photo {strange[0]!r} is no file name; give the official list")
    wanted = [name for name in names if not (folder / name).is_file()]
    failures: list[InputError] = []

    def bring(name: str) -> None:
        if len(failures) >= ENOUGH:
            return
        places = [f"{url}/{quote(name)}" for url in urls]
        try:
            fetch(places, folder / name, check=_is_whole, attempts=attempts, pause=pause)
        except InputError as error:
            failures.append(error)

    with ThreadPoolExecutor(workers) as pool:
        for number, _ in enumerate(pool.map(bring, wanted), start=1):
            if progress is not None:
                progress(len(names) - len(wanted) + number)
    if failures:
        first, _, remedy = str(failures[0]).rpartition("; ")
        others = f", nor could {len(failures) - 1} more photos" if len(failures) > 1 else ""
        raise InputError(f"{first}{others}; {remedy}")


def _is_whole(file: Path) -> str | None:
    """What is wrong with a photo, None where it can be seen to its last line."""
    try:
        with Image.open(file) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return "no whole photo"
    return None
