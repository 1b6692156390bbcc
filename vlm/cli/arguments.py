"""The standard library's parser, its errors raised as one sentence."""

import argparse
from typing import NoReturn

from vlm.errors import InputError


class Arguments(argparse.ArgumentParser):
    """An argument parser that leaves printing and exit status to the command."""

    def error(self, message: str) -> NoReturn:
        """Raises what the command line prints."""
        raise InputError(f"{message}; see {self.prog} --help")
