"""METEOR and SPICE, exact through their own Java programs: an optional extra, off the main path.

The programs come with pycocoevalcap (``pip install vlm[java]``). Nothing is ever downloaded, so
SPICE also waits for the CoreNLP files that its users place themselves.
"""

import gzip
import importlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

from vlm.errors import InputError
from vlm.formats.ids import who_has

Tokens = Sequence[str]

NEEDED = "needs Java 8+, pip install vlm[java]"
_METEOR = Path("meteor", "meteor-1.5.jar")
_PARAPHRASES = Path("meteor", "data", "paraphrase-en.gz")
_CORENLP = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")

# One collector thread halves the memory. METEOR reads UTF-8 anywhere, but the decimal points that
# it wrote only where the locale has them.
_OPTIONS = ("-Xmx2G", "-XX:+UseSerialGC", "-Duser.language=en", "-Duser.country=US")

_MAX_SHARDS = 4
_SHARD = 5000  # images; to load the paraphrases takes a process as long as to score some 4,000
_START_S, _IMAGE_S = 300.0, 0.5  # patience: some thirty times what a slow core needs


class JavaScores(NamedTuple):
    """One score of a corpus and of each of its images, in [0, 1].

    Attributes:
        corpus: METEOR from the matches of all images added up; SPICE is the mean over images.
        per_image: In the order of the candidates.
    """

    corpus: float
    per_image: list[float]


def missing(metric: Literal["METEOR", "SPICE"]) -> str | None:
    """Why a metric cannot be computed here, in words for a table; None where it can."""
    java, package = shutil.which("java"), _package()
    if java is None or package is None:
        return needed()
    reason = _refusal(java)
    if reason or metric == "METEOR":
        return reason
    library = package / "spice" / "lib"
    absent = [name for name in _CORENLP if not (library / name).is_file()]
    return f"needs {' and '.join(absent)} in {library}" if absent else None


def needed() -> str:
    """What METEOR and SPICE need and, unless both parts are absent, which of them is here."""
    java, package = shutil.which("java") is not None, _package() is not None
    if java and package:
        return f"{NEEDED} (both are here)"
    if java:
        return f"{NEEDED} (Java is here, the package is not)"
    return f"{NEEDED} (the package is here, Java is not)" if package else NEEDED


def meteor(
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
    *,
    shards: int | None = None,
) -> JavaScores:
    """METEOR 1.5 for English (Denkowski and Lavie, 2014), as COCO scoring calls it.

    Args:
        candidates: The tokens of one candidate an image, as ``vlm.text.ptb`` makes them.
        references: The tokens of each image's references, at least one; images in the same order.
        shards: Java processes at once, each with some 0.6 GB; they change the time alone. None is
            one a core, at most 4, and one for every 5,000 images.

    Raises:
        InputError: METEOR is missing here, the captions do not fit together, or Java stops early.
    """
    _require("METEOR", candidates, references)
    lines = [_score_line(*image) for image in zip(candidates, references, strict=True)]
    if shards is None:
        shards = max(1, min(_MAX_SHARDS, os.cpu_count() or 1, len(lines) // _SHARD))
    if shards < 1:
        raise InputError(f"METEOR runs in 1 or more shards, not {shards}: give a positive number")
    size = -(-len(lines) // shards)
    parts = [lines[start : start + size] for start in range(0, len(lines), size)]
    package = _package()
    assert package is not None  # missing() has seen it
    matches = _converse(
        package, parts, table=package / _PARAPHRASES, replies=[len(part) for part in parts]
    )
    with tempfile.TemporaryDirectory() as folder:
        # What is matched needs no paraphrases; the real table would cost seconds once more.
        table = Path(folder, "none.gz")
        table.write_bytes(gzip.compress(b""))
        evaluation = [[" ||| ".join(["EVAL", *matches])]]
        *scores, corpus = _converse(package, evaluation, table=table, replies=[len(lines) + 1])
    return JavaScores(float(corpus), [float(score) for score in scores])


def spice(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> JavaScores:
    """SPICE: the F-score of scene graphs (Anderson et al., 2016), by pycocoevalcap's own class.

    Only this interface is tested: it has not been run with CoreNLP, and not every Java runs SPICE.

    Args:
        candidates: The tokens of one candidate an image, as ``vlm.text.ptb`` makes them.
        references: The tokens of each image's references, at least one; images in the same order.

    Raises:
        InputError: SPICE is missing here, the captions do not fit together, or Java fails.
    """
    _require("SPICE", candidates, references)
    program = importlib.import_module("pycocoevalcap.spice.spice").Spice()
    texts = {image: [" ".join(tokens)] for image, tokens in enumerate(candidates)}
    human = {image: [" ".join(caption) for caption in row] for image, row in enumerate(references)}
    try:
        corpus, rows = program.compute_score(human, texts)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise InputError(f"SPICE's Java program failed ({error}); see what it printed") from error
    return JavaScores(float(corpus), [float(row["All"]["f"]) for row in rows])


def _package() -> Path | None:
    """The folder of pycocoevalcap, found without importing it."""
    spec = importlib.util.find_spec("pycocoevalcap")
    places = (spec and spec.submodule_search_locations) or ()
    return next((Path(place) for place in places if Path(place, _METEOR).is_file()), None)


def _refusal(java: str) -> str | None:
    """Why Java does not start, None where it does."""
    try:
        done = subprocess.run(
            [java, *_OPTIONS, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_START_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"Java does not start ({error})"
    said = _first_line(done.stderr + done.stdout)
    return None if done.returncode == 0 else f"Java does not start ({said})"


def _require(
    metric: Literal["METEOR", "SPICE"],
    candidates: Sequence[Tokens],
    references: Sequence[Sequence[Tokens]],
) -> None:
    if len(candidates) != len(references) or not candidates:
        raise InputError(
            f"{metric} needs one candidate an image and at least one image, got "
            f"{len(candidates)} candidates and the references of {len(references)}: align them"
        )
    bare = [str(image) for image, captions in enumerate(references) if not captions]
    if bare:
        raise InputError(f"{who_has('image', bare)} no references: give each one or leave it out")
    if reason := missing(metric):
        raise InputError(f"{metric} cannot be computed here: {reason}")


def _score_line(candidate: Tokens, references: Sequence[Tokens]) -> str:
    # COCO scoring cleans the candidate and not the references, so neither do we.
    cleaned = " ".join(candidate).replace("|||", "").replace("  ", " ")
    return " ||| ".join(["SCORE", *map(" ".join, references), cleaned])


def _converse(
    package: Path, parts: Sequence[Sequence[str]], *, table: Path, replies: Sequence[int]
) -> list[str]:
    """What METEOR replies to the lines of all parts, each part in a process of its own."""
    command = ["java", *_OPTIONS, "-jar", str(package / _METEOR)]
    # METEOR finds its own table only where the path has neither spaces nor accents, so it is named.
    command += ["-", "-", "-stdio", "-l", "en", "-norm", "-a", str(table)]
    # The stack unwinds first: its kills end what the threads of the pool wait for.
    with ThreadPoolExecutor(len(parts)) as pool, ExitStack() as stack:
        jobs = []
        for part, count in zip(parts, replies, strict=True):
            process = _start(command)
            stack.callback(process.kill)
            jobs.append(pool.submit(_ask, process, part, count))
        for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
            job.result()
        return [line for job in jobs for line in job.result()]


def _start(command: Sequence[str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
    )


def _ask(process: subprocess.Popen[str], lines: Sequence[str], replies: int) -> list[str]:
    """Writes and reads at once, so that no full pipe can stop both sides."""
    patience = _START_S + _IMAGE_S * replies
    try:
        output, errors = process.communicate("\n".join([*lines, ""]), timeout=patience)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise InputError(
            f"METEOR's Java program was not done in {patience:.0f} s; use fewer shards or captions"
        ) from error
    answers = output.splitlines()
    if process.returncode or len(answers) != replies or any("Error" in line for line in answers):
        said = _first_line(errors or output)
        raise InputError(
            f"METEOR's Java program stopped early, at {len(answers)} of {replies} replies "
            f"({said}); mend that, or use fewer shards where memory is short"
        )
    return answers


def _first_line(text: str) -> str:
    """The first line with a message; Java announces options from the environment before it."""
    lines = [line.strip() for line in text.splitlines() if not line.startswith("Picked up ")]
    return next(filter(None, lines), "it gave no reason")
