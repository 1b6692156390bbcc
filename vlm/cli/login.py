"""Whether wandb is logged in, told without importing it, and what a run does without."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any


def has_wandb_login() -> bool:
    """Whether a key is in the environment or in the netrc file."""
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False


def keep_wandb_quiet(loggers: Any, folder: Path) -> None:
    """A wandb logger writes into the output folder, offline unless a login is there already."""
    loggers = loggers if isinstance(loggers, list) else [loggers]
    wandb = [one for one in loggers if getattr(one, "class_path", "").endswith("WandbLogger")]
    for logger in wandb:
        logger.init_args.save_dir = str(folder)
    if wandb and "WANDB_MODE" not in os.environ and not has_wandb_login():
        os.environ["WANDB_MODE"] = "offline"
        folder.mkdir(parents=True, exist_ok=True)
        print(f"wandb: no login found, so this run stays offline under {folder / 'wandb'}")
