"""``vlm fit|validate|test|predict``: LightningCLI, with the checkpoint as lowest config."""

import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import lightning as L
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from vlm.cli.accelerator import has_bf16
from vlm.cli.login import keep_wandb_quiet
from vlm.cli.parser import OneSentenceParser, sentence_within
from vlm.cli.precedence import (
    configs_first,
    lowest_config,
    refuse_changes,
    refuse_lost_average,
    require_source,
)
from vlm.data.datamodules import ImageData, splits_read
from vlm.errors import InputError
from vlm.text.tokenizer import CaptionTokenizer
from vlm.training import checkpoint as checkpoints
from vlm.training.callbacks import ResultWriter, RunRecord, SampleTable
from vlm.training.ensemble import write_together
from vlm.training.warm_start import take_over

# What the libraries say about their own insides, or advise where the advice is known.
NOISE = (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"\s+[\s\S]*(deprecated in v4|JsonargparseDeprecationWarning)",
    r"Be aware that when using `ckpt_path`, callbacks",
    r"The '.*dataloader' does not have many workers",
    r"The number of training batches",
    r"It is recommended to use `self.log\(.*sync_dist=True\)`",  # scores are gathered already
    r"Starting from v1.9.0, `tensorboardX`",
    r"Experiment logs directory .* exists and is not empty",
)


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
    require_source(verb, arguments)
    content = None if path is None else checkpoints.read(path)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_advertisement)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        for message in NOISE:
            warnings.filterwarnings("ignore", message=message)
        defaults = Path(folder) / "checkpoint.yaml"
        if content is not None:
            recipe = content[checkpoints.SECTION]
            config = lowest_config(recipe, _value_of("--backbone", arguments))
            defaults.write_text(yaml.safe_dump(config))
        try:
            cli = TrainerCLI(verb, configs_first(arguments), content, defaults if content else None)
        except Exception as error:
            raise _in_one_sentence(error, content) from error
        try:
            cli.run()
        except MisconfigurationException as error:  # a metric that no validation gave, say
            raise InputError(" ".join(str(error).split())[:400]) from error
    return cli


def _in_one_sentence(error: Exception, content: dict[str, Any] | None) -> Exception:
    """What went wrong while the parts were made, as the user shall read it."""
    told = sentence_within(error)
    if told is not None and content is not None and "backbone '" in str(told):
        recipe = content[checkpoints.SECTION]
        name = recipe["backbone"]["init_args"]["name"]
        if f"backbone {name!r}" in str(told):
            return checkpoints.backbone_is_gone(recipe, told)
    if told is None and isinstance(error, ValueError | TypeError | MisconfigurationException):
        return InputError(" ".join(str(error).split())[:400])
    return told or error


class TrainerCLI(LightningCLI):
    """LightningCLI over a module and its data, with one output folder for all a run writes.

    Args:
        verb: fit, validate, test or predict.
        arguments: of the command line, after the verb.
        content: of the checkpoint that is given, if one is.
        defaults: file of the config that everything else overrules.
    """

    def __init__(
        self,
        verb: str,
        arguments: list[str],
        content: dict[str, Any] | None,
        defaults: Path | None,
    ) -> None:
        self.verb = verb
        self.content = content
        self.recipe = None if content is None else content[checkpoints.SECTION]
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
        parser.add_argument(
            "--start",
            type=str | None,
            default=None,
            help="Checkpoint, of any task, whose encoder and decoder a training begins with.",
        )
        if self.verb in ("test", "predict"):
            parser.add_argument(
                "--ensemble",
                type=str,
                nargs="+",
                default=[],
                help="Checkpoints of captioners that write along: the mean of all decides.",
            )
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments(
            "data",
            "model.init_args.tokenizer",
            compute_fn=self._tokenizer,
            apply_on="instantiate",
        )
        # A module without answers is not given any.
        parser.link_arguments(
            "data", "model.init_args.answers", compute_fn=self._answers, apply_on="instantiate"
        )
        parser.set_defaults({"seed_everything": 0})

    def before_instantiate_classes(self) -> None:
        """Decides the folder and the precision; refuses what a checkpoint fixes."""
        config, trainer = self.config[self.verb], self.config[self.verb].trainer
        if self.recipe is not None:
            refuse_changes(self.recipe, config)
        elif config.ckpt_path:
            raise InputError(
                f"ckpt_path: {config.ckpt_path} stands in a config; give it as --ckpt_path FILE"
            )
        self.output = Path(config.output or self._default_output(config))
        trainer.default_root_dir = str(self.output)
        trainer.use_distributed_sampler = False
        keep_wandb_quiet(trainer.logger, self.output)
        if self.verb == "fit":
            self._prepare_fit(config)

    def _prepare_fit(self, config: Any) -> None:
        """Nothing an earlier run wrote is lost; bfloat16 where the hardware has it."""
        if self.content is None and (self.output / "checkpoints").exists():
            raise InputError(
                f"{self.output} holds a run already; give another --output, "
                "or go on with its checkpoint by --ckpt_path"
            )
        if self.content is not None:
            refuse_lost_average(self.content, config.trainer.callbacks or [])
        if config.trainer.precision is None and has_bf16(config.trainer.accelerator):
            config.trainer.precision = "bf16-mixed"

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """A trainer that writes to the output folder alone."""
        config = self._get(self.config_init, "trainer")
        logger = config.logger
        if logger is None or logger is True:
            config.logger = self.verb == "fit" and _csv_logger(self.output)
        seed = int(self._get(self.config, "seed_everything"))
        record = RunRecord(self.output, seed=seed)
        self.trainer_defaults["callbacks"] = [ResultWriter(self.output), record, SampleTable()]
        trainer = super().instantiate_trainer(**kwargs)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(self.output / "checkpoints")
        return trainer

    def after_instantiate_classes(self) -> None:
        """Holds backbone and images against what they must be, before anything is written."""
        start = self._get(self.config, "start")
        if start and self.recipe is None:  # a run that goes on has its own weights
            take_over(self.model, checkpoints.read(start))
        if self.recipe is not None:
            checkpoints.check_backbone(self.model.backbone, self.recipe)
            checkpoints.check_boxes(self.datamodule.store, self.recipe)
        others = self._get(self.config, "ensemble", default=[])
        if others:
            config = self.config[self.verb]
            write_together(self.model, config.ckpt_path, others, backbone=config.backbone)
        if self.trainer.is_global_zero:
            for split in splits_read(self.trainer, self.verb):
                self.datamodule.check_images(split)
                samples = self.datamodule.samples(split)
                for note in [n for task in self.model.tasks for n in task.notes(samples, split)]:
                    print(note)

    def _run_subcommand(self, subcommand: str) -> None:
        """Nothing yet: :meth:`run` does, once the caller is ready."""

    def run(self) -> None:
        """Runs the verb."""
        super()._run_subcommand(self.verb)

    def _tokenizer(self, data: ImageData) -> CaptionTokenizer:
        """The checkpoint's, or one made from the training texts."""
        if self.recipe is not None:
            return CaptionTokenizer(self.recipe["tokenizer"])
        return data.tokenizer()

    def _answers(self, data: ImageData) -> tuple[str, ...] | None:
        """The checkpoint's, or those chosen on the training questions."""
        if self.recipe is not None:
            return None if self.recipe["answers"] is None else tuple(self.recipe["answers"])
        return data.answer_list()

    def _default_output(self, config: Any) -> Path:
        """Beside the checkpoint, its own run's folder to go on in, or a new one under runs."""
        if not config.ckpt_path:
            return Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = Path(config.ckpt_path).resolve().parent
        if self.verb == "fit":
            return folder.parent if folder.name == "checkpoints" else folder
        ensemble = "-ensemble" if config.get("ensemble") else ""
        return folder / (self.verb + ensemble)


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
        names = (folder / f"metrics-{number}.csv" for number in count(1))
        earlier.rename(next(name for name in names if not name.exists()))
    return CSVLogger(folder, name="", version="")


def _is_no_advertisement(record: logging.LogRecord) -> bool:
    return "Tip:" not in record.getMessage()
