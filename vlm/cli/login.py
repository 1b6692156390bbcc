"""Whether wandb is logged in, told without importing it."""

import os
from netrc import NetrcParseError, netrc


def has_wandb_login() -> bool:
    """Whether a key is in the environment or in the netrc file."""
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
