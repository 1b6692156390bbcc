"""The one exception for input that cannot be used."""


class InputError(Exception):
    """A file, value or option given by the user that cannot be used.

    The message is one sentence that names what was given, says what is wrong
    with it and what to do. The command line prints it and exits with status 2.
    """
