"""``vlm fit|validate|test|predict``: LightningCLI, with the checkpoint as lowest config."""

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import datetime
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from vlm.cli.parser import OneSentenceParser, sentence_within
from vlm.data.datamodules import CaptionData
from vlm.errors import InputError
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training import checkpoint as checkpoints
from vlm.training.callbacks import ResultWriter, RunRecord

# What the libraries say about their own insides, or advise where the advice is known.
NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"\s+[\s\S]*(deprecated in v4|JsonargparseDeprecationWarning)",
    r"Be aware that when using `ckpt_path`, callbacks",
    r"The '.*dataloader' does not have many workers",
    r"The number of training batches",
    r"Starting from v1.9.0, `tensorboardX`",
    r"Checkpoint directory .* exists and is not empty",
    r"Experiment logs directory .* exists and is not empty",
    r"The dirpath has changed",
)
FIXED = ("encoder", "decoder")


def main(verb: str, arguments: Sequence[str]) -> None:
    """Runs a verb of the trainer; the folder it wrote to is printed last."""
    cli = run(verb, arguments)
    if cli.trainer.is_global_zero:
        print(f"written to {cli.output}")


def run(verb: str, arguments: Sequence[str]) -> "TrainerCLI":
    """Runs a verb of the trainer.

    Args:
        verb: fit, validate, test or predict.
        arguments: of the command line, after the verb.

    Raises:
        InputError: if an option, a file or the checkpoint cannot be used.
    """
    path = _value_of("--ckpt_path", arguments)
    starts = ("--config", "-c", "--ckpt_path", "--help", "-h")
    if not any(argument.startswith(starts) for argument in arguments):
        raise InputError(f"vlm {verb} needs --config FILE, configs/ has some, or --ckpt_path FILE")
    recipe = None if path is None else checkpoints.read(path)[checkpoints.SECTION]
    with tempfile.TemporaryDirectory() as folder:
        defaults = Path(folder) / "checkpoint.yaml"
        if recipe is not None:
            config = lowest_config(recipe, _value_of("--backbone", arguments))
            defaults.write_text(yaml.safe_dump(config))
        logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
        with warnings.catch_warnings():
            for message in NOISE:
                warnings.filterwarnings("ignore", message=message)
            try:
                cli = TrainerCLI(verb, list(arguments), recipe, defaults if recipe else None)
            except Exception as error:
                raise sentence_within(error) or error from None
            cli.run()
    return cli


def lowest_config(recipe: dict[str, Any], backbone: str | None) -> dict[str, Any]:
    """What a checkpoint says of model and data, as a config that any other overrules."""
    encoder, decoder = dict(recipe["encoder"]), dict(recipe["decoder"])
    for part, given in ((encoder, "region_width"), (decoder, "vocabulary_size")):
        arguments = part["init_args"]
        part["init_args"] = {name: arguments[name] for name in arguments if name != given}
    parts = {
        "backbone": checkpoints.backbone_description(recipe, backbone),
        "encoder": encoder,
        "decoder": decoder,
    }
    settings = {name: value for name, value in recipe["settings"].items() if name != "seed"}
    config: dict[str, Any] = {
        "seed_everything": recipe["settings"]["seed"],
        "model": {"class_path": recipe["task"], "init_args": parts | settings},
    }
    if recipe["data"] is not None:
        arguments = {name: v for name, v in recipe["data"]["init_args"].items() if name != "seed"}
        config["data"] = {"class_path": recipe["data"]["class_path"], "init_args": arguments}
    return config


class TrainerCLI(LightningCLI):
    """LightningCLI over a module and its data, with one output folder for all a run writes.

    Args:
        verb: fit, validate, test or predict.
        arguments: of the command line, after the verb.
        recipe: of the checkpoint that is given, if one is.
        defaults: file of the config that everything else overrules.
    """

    def __init__(
        self,
        verb: str,
        arguments: list[str],
        recipe: dict[str, Any] | None,
        defaults: Path | None,
    ) -> None:
        self.verb = verb
        self.recipe = recipe
        lowest = [] if defaults is None else [str(defaults)]
        whole = {"allow_abbrev": False}
        kwargs = whole | {verb: whole | {"default_config_files": lowest}}
        command, sys.argv = sys.argv, sys.argv[:1]  # LightningCLI warns if both are there
        try:
            super().__init__(
                L.LightningModule,
                L.LightningDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                parser_class=OneSentenceParser,
                parser_kwargs=kwargs,
                save_config_callback=SaveConfigCallback if verb == "fit" else None,
                save_config_kwargs={"overwrite": True},
                args=[verb, *arguments],
            )
        finally:
            sys.argv = command

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The output folder, the backbone's new home, and what follows from what."""
        parser.add_argument(
            "--output", type=str | None, default=None, help="Folder for all that is written."
        )
        parser.add_argument(
            "--backbone",
            type=str | None,
            default=None,
            help="Folder or file that holds the checkpoint's backbone, if its source is gone.",
        )
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments(
            "data",
            "model.init_args.tokenizer",
            compute_fn=self._tokenizer,
            apply_on="instantiate",
        )
        parser.set_defaults({"seed_everything": 0})

    def before_instantiate_classes(self) -> None:
        """Decides the folder, the precision and the logger; refuses what a checkpoint fixes."""
        config = self.config[self.verb]
        if self.recipe is not None:
            _refuse_changes(self.recipe, config)
        self.output = Path(config.output or self._default_output(config))
        trainer = config.trainer
        trainer.default_root_dir = str(self.output)
        trainer.use_distributed_sampler = False
        _keep_wandb_quiet(trainer.logger, self.output)
        if trainer.precision is None and _has_bf16(trainer.accelerator):
            trainer.precision = "bf16-mixed"

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that logs to the output folder."""
        config = self._get(self.config_init, "trainer")
        logger = config.logger
        if logger is None or logger is True:
            config.logger = self.verb == "fit" and _csv_logger(self.output)
        seed = int(self._get(self.config, "seed_everything"))
        self.trainer_defaults["callbacks"] = [
            ResultWriter(self.output),
            RunRecord(self.output, seed=seed),
        ]
        return super().instantiate_trainer(**kwargs)

    def after_instantiate_classes(self) -> None:
        """Holds the backbone against the checkpoint's."""
        if self.recipe is not None:
            checkpoints.check_backbone(self.model.backbone, self.recipe)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing yet: :meth:`run` does, once the caller is ready."""

    def run(self) -> None:
        """Runs the verb."""
        super()._run_subcommand(self.verb)

    def _tokenizer(self, data: CaptionData) -> CaptionTokenizer:
        """The checkpoint's, or one made from the training captions."""
        if self.recipe is not None:
            return CaptionTokenizer(self.recipe["tokenizer"])
        return data.tokenizer()

    def _default_output(self, config: Any) -> Path:
        """Beside the checkpoint, or a new folder under runs."""
        if config.ckpt_path:
            return Path(config.ckpt_path).resolve().parent / self.verb
        return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")


def _refuse_changes(recipe: dict[str, Any], config: Any) -> None:
    """Sizes cannot change on a loaded model."""
    for part in FIXED:
        trained = recipe[part]
        asked = config.model.init_args[part].as_dict()
        if checkpoints.class_of(asked["class_path"]) is not checkpoints.class_of(
            trained["class_path"]
        ):
            raise InputError(
                f"model.{part} is {asked['class_path']}, but the checkpoint holds a "
                f"{trained['class_path']}; leave it out"
            )
        for name, value in asked["init_args"].items():
            if value != trained["init_args"][name]:
                raise InputError(
                    f"model.{part}.{name}={value} cannot change on a loaded model; "
                    f"the checkpoint has {trained['init_args'][name]}, leave it out"
                )


def _value_of(option: str, arguments: Sequence[str]) -> str | None:
    """The last value of ``--option VALUE`` or ``--option=VALUE``."""
    value = None
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
        elif argument.startswith(option + "="):
            value = argument.partition("=")[2]
    return value


def _csv_logger(folder: Path) -> CSVLogger:
    """Logs to ``metrics.csv``; one that an earlier run left in the folder is kept beside it."""
    earlier = folder / "metrics.csv"
    if earlier.exists():
        number = len(list(folder.glob("metrics-*.csv"))) + 1
        earlier.rename(folder / f"metrics-{number}.csv")
    return CSVLogger(folder, name="", version="")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()


def _keep_wandb_quiet(loggers: Any, folder: Path) -> None:
    """A wandb logger writes into the output folder, offline unless a login is there already."""
    loggers = loggers if isinstance(loggers, list) else [loggers]
    wandb = [one for one in loggers if getattr(one, "class_path", "").endswith("WandbLogger")]
    for logger in wandb:
        logger.init_args.save_dir = str(folder)
    if wandb and "WANDB_MODE" not in os.environ and not _has_wandb_login():
        os.environ["WANDB_MODE"] = "offline"
        folder.mkdir(parents=True, exist_ok=True)
        print(f"wandb: no login found, so this run stays offline under {folder / 'wandb'}")


def _has_wandb_login() -> bool:
    if "WANDB_API_KEY" in os.environ:
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False


def _has_bf16(accelerator: str) -> bool:
    """Whether the run will be on a GPU that computes in bfloat16; a CPU never does unasked."""
    return (
        accelerator in ("auto", "gpu", "cuda")
        and torch.cuda.is_available()
        and torch.cuda.is_bf16_supported()
    )
