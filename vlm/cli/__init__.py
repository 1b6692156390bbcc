"""The ``vlm`` command: finds the verb, imports only that, tells errors in one sentence."""

import difflib
import errno
import importlib
import sys
from collections.abc import Sequence

from vlm import __version__
from vlm.errors import InputError

FULL = (errno.ENOSPC, errno.EDQUOT)
VERBS = {
    "demo": ("demo", "draw a small world, train on it to write captions and to answer questions"),
    "prepare": ("prepare", "a public data set: fetched, checked, split"),
    "extract": ("extract", "region features of images, once, into a store"),
    "import": ("imports", "detector features that others published, into a store"),
    "fit": ("trainer", "train; --config configs/NAME.yaml"),
    "validate": ("trainer", "results and scores of the validation split"),
    "test": ("trainer", "results and scores of the test split"),
    "predict": ("trainer", "results for images or questions without labels"),
    "answer": ("answer", "answers to questions about a photo, from a checkpoint"),
    "caption": ("caption", "captions of photos, from a checkpoint"),
    "attend": ("attend", "a picture of what each word of a caption or question looked at"),
    "evaluate": ("evaluate", "scores of captions or answers in a result file"),
    "compare": ("compare", "two systems: difference, interval, p-value"),
    "baseline": ("baseline", "what a model has to beat: nearest, frequent, shuffled"),
    "doctor": ("doctor", "what works here and what would fail later"),
}


def usage() -> str:
    """The text of ``vlm --help``."""
    lines = [f"  {verb:<10} {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(
        ["usage: vlm VERB [options]", "", *lines, "", "vlm VERB --help tells a verb's options."]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Args:
        arguments: after the command's name; those of the process when not given.

    Returns:
        the exit status: 0 done, 2 input that cannot be used.
    """
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        _run(verb, rest)
    except InputError as error:
        # A worker process of the data loader wraps the sentence into its traceback.
        sentence = str(error).rpartition("InputError: ")[2].strip()
        print(f"vlm: error: {sentence}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vlm: stopped; what was written stays", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who read our output has seen enough
        sys.stdout = None  # pyright: ignore[reportAttributeAccessIssue]
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        remedy = "make room" if error.errno in FULL else "give another path"
        print(f"vlm: error: {named}{error.strerror or error}; {remedy}", file=sys.stderr)
        return 2
    return 0


def _run(verb: str, arguments: Sequence[str]) -> None:
    if verb in ("-h", "--help"):
        print(usage())
    elif verb == "--version":
        print(f"vlm {__version__}")
    elif verb in VERBS:
        importlib.import_module(f"vlm.cli.{VERBS[verb][0]}").main(verb, arguments)
    else:
        nearest = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(VERBS)}"
        raise InputError(f"there is no verb {verb!r}; {hint}")
