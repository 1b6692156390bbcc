"""The standard library's parser, its errors raised as one sentence, and names of scores read."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NoReturn

from vlm.errors import InputError


class Arguments(argparse.ArgumentParser):
    """An argument parser that leaves printing and exit status to the command."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message}; see {self.prog} --help")


def score_names(text: str, families: Mapping[str, Sequence[str]]) -> list[str]:
    """The scores that ``--metrics`` asks for.

    Args:
        text: names of families or of single scores, parted by commas.
        families: the scores that there are, by family: BLEU has four.

    Raises:
        InputError: a name is empty, unknown, or names a score a second time.
    """
    known = [name for family, scores in families.items() for name in (family, *scores)]
    choose = f"choose of {', '.join(dict.fromkeys(known))}"
    given = [name.strip() for name in text.split(",")]
    if not all(given):
        raise InputError(
            f"--metrics expected names parted by single commas, got {text!r}; {choose}"
        )
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InputError(f"--metrics names {', '.join(unknown)}, which is not here; {choose}")
    chosen = [score for name in given for score in families.get(name, [name])]
    doubled = [score for score, times in Counter(chosen).items() if times > 1]
    if doubled:
        raise InputError(f"--metrics names {', '.join(doubled)} twice in {text!r}; name each once")
    return chosen
