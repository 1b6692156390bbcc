"""Trainings that differ in one thing, several seeds of each, and their scores as a table.

An overlay is a config that changes one thing of another: ``configs/ablations/`` has those that one
tries first, and the base config itself may stand among them. Each is laid over the base and trained
once a seed, as ``vlm fit --config BASE --config OVERLAY`` would; its scores are those of the last
validation, so that none is chosen by what it scores.

    python scripts/ablations.py configs/ablations/region_layers_*.yaml \
        --config configs/flickr8k.yaml --seeds 3 --output runs/ablations --set trainer.max_epochs=6

A run whose scores are there (``OUTPUT/OVERLAY/seed-0.json``) is not repeated, one that was stopped
is begun anew, and one that fails leaves the others alone. ``OUTPUT/ablations.json`` and ``.csv``
hold every run; the table has means and standard deviations (n - 1), times 100.
"""

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from vlm.cli.arguments import Arguments
from vlm.errors import InputError
from vlm.files import file_hash, read_json, telling, write_json, writing


class Run(NamedTuple):
    """One training.

    Attributes:
        overlay: its name.
        seed: of everything random.
        folder: that ``vlm fit`` writes to; scores and log stand beside it.
        arguments: of ``vlm fit``, but for the folder.
        made: hashes of configs, and settings: what a later call has to agree with.
    """

    overlay: str
    seed: int
    folder: Path
    arguments: list[str]
    made: dict[str, Any]

    @property
    def record(self) -> Path:
        """The file of scores, which is there once the run is complete."""
        return self.folder.with_suffix(".json")

    @property
    def log(self) -> Path:
        """What the training printed."""
        return self.folder.with_suffix(".log")


def plan(given: argparse.Namespace) -> list[Run]:
    """All runs that are asked for, a seed of each overlay before the next seed of any.

    Raises:
        InputError: if an option cannot be used, or a run of other options is there already.
    """
    if given.seeds < 1:
        raise InputError(f"--seeds expected 1 or more, got {given.seeds}; 3 give a deviation")
    wrong = [setting for setting in given.set if not setting.partition("=")[1]]
    if wrong:
        raise InputError(f"--set expected NAME=VALUE, got {wrong[0]!r}; see vlm fit --help")
    overlays = {path.stem: path for path in given.overlays}
    if len(overlays) < len(given.overlays):
        raise InputError("two overlays have one name, which their folders need; rename one")
    runs = [
        _run(given, name, overlay, seed)
        for seed in range(given.seeds)
        for name, overlay in overlays.items()
    ]
    for run in runs:
        if run.record.exists() and read_json(run.record)["made"] != run.made:
            raise InputError(
                f"{run.folder} was trained with another config, overlay or --set; give another "
                "--output, or remove it and its .json"
            )
    return runs


def _run(given: argparse.Namespace, name: str, overlay: Path, seed: int) -> Run:
    made: dict[str, Any] = {"set": given.set}
    for part, file in (("config", given.config), ("overlay", overlay)):
        with telling(file):
            made[part] = file_hash(file)
    arguments = ["--config", str(given.config), "--config", str(overlay)]
    arguments += [f"--seed_everything={seed}", *(f"--{setting}" for setting in given.set)]
    return Run(name, seed, given.output / name / f"seed-{seed}", arguments, made)


def perform(run: Run) -> str:
    """Trains unless the scores are there; what went wrong, or nothing."""
    if run.record.exists():
        return ""
    if run.folder.exists():  # of a run that was stopped or failed
        shutil.rmtree(run.folder)
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    start = monotonic()
    status = train([*run.arguments, f"--output={run.folder}"], run.log)
    if status:
        told = [line for line in run.log.read_text(errors="replace").split("\n") if line.strip()]
        return told[-1] if told else f"exit status {status}"
    metrics = run.folder / "metrics.json"
    if not metrics.exists():
        return "no validation took place; lower trainer.check_val_every_n_epoch"
    record = {"made": run.made, "minutes": (monotonic() - start) / 60}
    write_json(run.record, record | {"scores": scores_of(read_json(metrics))})
    return ""


def train(arguments: Sequence[str], log: Path) -> int:
    """The exit status of ``vlm fit`` in a process of its own, which may die alone."""
    command = [sys.executable, "-m", "vlm", "fit", *arguments]
    with log.open("w") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    return done.returncode


def scores_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a ``metrics.json``, times 100, named by task where there are several."""
    if "scores" in metrics:  # VQA's are per cent already
        unit = 1 if metrics["signature"].startswith("vqa") else 100
        return {name: unit * score for name, score in metrics["scores"].items()}
    return {
        f"{task} {name}": score
        for task, part in metrics.items()
        if isinstance(part, Mapping)
        for name, score in scores_of(part).items()
    }


def collect(runs: Sequence[Run], output: Path) -> dict[str, dict[str, list[float]]]:
    """Writes the complete runs, and returns their scores by overlay and name, a seed each."""
    rows: list[dict[str, Any]] = []
    found: dict[str, dict[str, list[float]]] = {}
    for run in sorted(runs, key=lambda run: run.overlay):
        if run.record.exists():
            record = read_json(run.record)
            row = {"minutes": record["minutes"], **record["scores"]}
            rows.append({"overlay": run.overlay, "seed": run.seed, **row})
            scores = found.setdefault(run.overlay, {})
            for name, value in row.items():
                scores.setdefault(name, []).append(value)
    if rows:
        means = {
            overlay: {
                name: {"mean": statistics.mean(of), "deviation": deviation(of)}
                for name, of in scores.items()
            }
            for overlay, scores in found.items()
        }
        write_json(output / "ablations.json", {"runs": rows, "overlays": means})
        with writing(output / "ablations.csv") as partial, partial.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return found


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample, of which one value tells nothing."""
    return statistics.stdev(values) if len(values) > 1 else None


def table(found: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Means and deviations for people, a row an overlay."""
    names = list(next(iter(found.values())))
    rows = [["", "seeds", *names]]
    for overlay, scores in found.items():
        values = list(scores.values())
        rows.append([overlay, str(len(values[0])), *map(cell, values)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = (f"{text:>{width}}" for text, width in zip(others, widths[1:], strict=True))
        lines.append("  ".join([f"{first:<{widths[0]}}", *cells]))
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """A mean and what stands behind it."""
    spread = deviation(values)
    return f"{statistics.mean(values):.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and prints the table; 1 if runs failed, 2 if none could be begun, 130 if stopped."""
    try:
        given = _parser().parse_args(arguments)
        runs = plan(given)
    except InputError as error:
        print(f"ablations: error: {error}", file=sys.stderr)
        return 2
    status = 0
    try:
        for number, run in enumerate(runs, start=1):
            print(f"{number}/{len(runs)} {run.folder}", flush=True)
            if wrong := perform(run):
                status = 1
                print(f"ablations: error: {wrong} ({run.log})", file=sys.stderr)
    except KeyboardInterrupt:
        status = 130
        print("ablations: stopped; the same command goes on", file=sys.stderr)
    found = collect(runs, given.output)
    if found:
        print(table(found))
    return status


def _parser() -> Arguments:
    parser = Arguments(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("overlays", nargs="+", type=Path, metavar="overlay", help="YAML files")
    parser.add_argument("--config", type=Path, required=True, help="what they are laid over")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each, from seed 0 on")
    parser.add_argument("--output", type=Path, default=Path("runs/ablations"), help="folder")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=VALUE",
        help="options of vlm fit for all of them",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
