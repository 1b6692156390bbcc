"""Where the demo keeps what, and the options that bring a config of the demo there."""

from pathlib import Path

import vlm


def config_file(name: str) -> Path:
    """A YAML of ``configs/``, from the checkout or from the installed package."""
    package = Path(vlm.__file__).parent
    folders = (package.parent / "configs", package / "configs")
    return next((folder / name for folder in folders if (folder / name).is_file()), Path(name))


def on_this_world(output: Path, seed: int) -> list[str]:
    """Options of ``vlm fit`` that replace the folders in a config of the demo."""
    options = {
        "seed_everything": str(seed),
        "model.backbone.name": f"local-dir:{output / 'eyes'}",
        "data.root": str(output / "world"),
        "data.store.init_args.path": str(output / "features"),
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]
