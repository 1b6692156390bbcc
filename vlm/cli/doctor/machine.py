"""This machine: versions, accelerator, optional parts, room on its disks."""

import importlib.util
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from vlm.cli.doctor.finding import Finding, fail, ok, warn
from vlm.cli.login import has_wandb_login
from vlm.disk import existing, free_bytes, in_words

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LITTLE = 1e9  # bytes; less than a usual backbone, the checkpoints of a run or its batches take
DRIVER = Path("/proc/driver/nvidia/version")
SHARED_MEMORY = Path("/dev/shm")


def examine_machine() -> Iterator[Finding]:
    """Looks at all of it; parts that are broken do not stop the rest."""
    yield from versions()
    yield from accelerators()
    yield java_metrics()
    yield hdf5()
    yield wandb_state()
    yield room("current folder", Path.cwd(), remedy="work on another disk, or make room")
    yield weights_folder()
    yield temporary_folder()
    if SHARED_MEMORY.is_dir():
        yield shared_memory()


# --- Versions --------------------------------------------------------------------------------


def versions() -> Iterator[Finding]:
    """Python and the libraries against the bounds that this package declares."""
    try:
        from packaging.specifiers import SpecifierSet

        wanted = metadata.metadata("vlm")["Requires-Python"]
    except ImportError as error:  # PackageNotFoundError is one
        ours = isinstance(error, metadata.PackageNotFoundError)
        absent, remedy = ("vlm", "in its folder: pip install -e .") if ours else ("packaging", "")
        remedy = remedy or "pip install packaging"
        yield fail("versions", f"{absent} is not installed, so the bounds are not known", remedy)
        return
    found = platform.python_version()
    if SpecifierSet(wanted).contains(found, prereleases=True):
        yield ok("Python", f"{found}, needs {wanted}")
    else:
        yield fail("Python", f"{found}, needs {wanted}", "make an environment with such a one")
    required = _required()
    wrong = [fail(part.name, *misfit) for part in required if (misfit := _misfit(part))]
    yield from wrong
    if not wrong:
        told = ", ".join(f"{part.name} {metadata.version(part.name)}" for part in required)
        yield ok("libraries", f"{told}; all within their bounds")


def _required(extra: str = "") -> "list[Requirement]":
    """What the package needs, or one of its extras does beside that."""
    from packaging.requirements import Requirement

    parts = map(Requirement, metadata.requires("vlm") or [])
    if not extra:
        return [part for part in parts if part.marker is None]
    return [part for part in parts if part.marker and part.marker.evaluate({"extra": extra})]


def _misfit(part: "Requirement") -> tuple[str, str] | None:
    """What is wrong with an installed library, and the remedy; None if nothing is."""
    remedy = f'pip install "{part.name}{part.specifier}"'
    try:
        version = metadata.version(part.name)
    except metadata.PackageNotFoundError:
        return "is not installed", remedy
    if part.specifier.contains(version, prereleases=True):
        return None
    upper = [bound for bound in part.specifier if bound.operator.startswith("<")]
    new = any(not bound.contains(version, prereleases=True) for bound in upper)
    reason = f"{version} is too {'new' if new else 'old'}, needs {part.specifier}"
    return reason, remedy


# --- Accelerator -----------------------------------------------------------------------------


def accelerators() -> Iterator[Finding]:
    """What torch can compute on."""
    try:
        import torch
    except (ImportError, OSError):
        remedy = "install it again: pip install --force-reinstall torch torchvision"
        yield fail("torch", "cannot be loaded", remedy)
        return
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        has_cuda = torch.cuda.is_available()
    if has_cuda:
        yield from map(_card, range(torch.cuda.device_count()))
    elif DRIVER.exists():
        yield _idle_card(old_driver=bool(heard))
    elif torch.backends.mps.is_available():
        memory = in_words(torch.mps.recommended_max_memory())
        yield ok("accelerator", f"MPS (Apple), {memory} of memory to use, trains in fp32")
    else:
        yield _processor()


def _card(number: int) -> Finding:
    """A CUDA device, tried by a small sum."""
    import torch

    subject = f"accelerator {number}"
    name = torch.cuda.get_device_name(number)
    try:
        torch.ones(8, device=f"cuda:{number}").sum().item()
        free, total = torch.cuda.mem_get_info(number)
    except RuntimeError:
        return fail(
            subject,
            f"{name} computes nothing with torch {torch.__version__}",
            "see nvidia-smi whether its memory is full, or install a torch made for this card",
        )
    precision = "bf16" if torch.cuda.is_bf16_supported() else "no bf16, so fp32"
    told = f"{name}, {in_words(free)} of {in_words(total)} free, {precision}"
    if free < LITTLE:
        remedy = "end what fills it (nvidia-smi), or name another card in CUDA_VISIBLE_DEVICES"
        return warn(subject, told, remedy)
    return ok(subject, told)


def _idle_card(*, old_driver: bool) -> Finding:
    """An NVIDIA driver is here, and torch sees no card."""
    import torch

    told = f"an NVIDIA driver is here, but torch {torch.__version__} sees no card"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None:
        return warn("accelerator", f"{told}, it is built without CUDA", "install a CUDA build")
    if hidden is not None:
        return warn("accelerator", f"{told}, CUDA_VISIBLE_DEVICES is {hidden!r}", "unset that")
    remedy = f"update the driver for CUDA {torch.version.cuda}"
    return warn("accelerator", told, remedy if old_driver else f"{remedy}, or see nvidia-smi")


def _processor() -> Finding:
    import torch

    threads, cores = torch.get_num_threads(), _cores()
    told = f"none; CPU of {cores} cores, torch takes {threads} threads"
    if threads > cores:
        return warn("accelerator", told, f"set OMP_NUM_THREADS={cores}, more are slower")
    return ok("accelerator", told)


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- Optional parts --------------------------------------------------------------------------


def java_metrics() -> Finding:
    """METEOR, which is wanted where its package is installed."""
    try:
        from vlm.metrics.java import missing
    except ImportError:  # numpy is gone, which the versions tell
        return warn("METEOR", "cannot be looked for", "install the libraries first")
    reason = missing("METEOR")
    if reason is None:
        return ok("METEOR", "Java and pycocoevalcap are here")
    if importlib.util.find_spec("pycocoevalcap"):
        return warn("METEOR", reason, "install a Java of version 8 or newer, or do without METEOR")
    return ok("METEOR", f"not here, which is well unless you want it: {reason}")


def hdf5() -> Finding:
    """h5py, which reads region features published in HDF5."""
    try:
        misfits = [(part.name, misfit) for part in _required("hdf5") if (misfit := _misfit(part))]
    except ImportError:
        misfits = []
    if importlib.util.find_spec("h5py") is None:
        wish = "region features in HDF5 need pip install vlm[hdf5]"
        return ok("h5py", f"not here, which is well unless you want it: {wish}")
    if misfits:
        name, misfit = misfits[0]
        return warn(name, *misfit)
    return ok("h5py", f"{metadata.version('h5py')}, reads region features in HDF5")


def wandb_state() -> Finding:
    """Whether runs that log to wandb reach it."""
    mode = os.environ.get("WANDB_MODE")
    if mode:
        return ok("wandb", f"WANDB_MODE is {mode!r}, which runs that log to it will obey")
    if has_wandb_login():
        return ok("wandb", "logged in, runs that log to it are online")
    wish = "wandb login brings them online, wandb sync uploads them later"
    return ok("wandb", f"no login, runs that log to it stay offline: {wish}")


# --- Room ------------------------------------------------------------------------------------


def room(subject: str, folder: Path, *, remedy: str, more: str = "") -> Finding:
    """A folder that is written to: its room and whether it may be.

    Args:
        subject: of the finding.
        folder: that may still have to be made.
        remedy: where it cannot be used.
        more: that is told behind the room.
    """
    free = free_bytes(folder)
    told = f"{folder}, {in_words(free)} free{more}"
    if not os.access(existing(folder), os.W_OK):
        return warn(subject, f"{told}, but it cannot be written to", remedy)
    return warn(subject, told, remedy) if free < LITTLE else ok(subject, told)


def weights_folder() -> Finding:
    """Where timm keeps the weights that it fetches."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return warn(
            "weights", "huggingface_hub is not installed", "pip install huggingface_hub, or "
            "give backbones as local-dir:PATH"
        )  # fmt: skip
    folder = Path(constants.HF_HUB_CACHE)
    known = len(list(folder.glob("models--*")))
    more = f", {known} models there"
    if constants.HF_HUB_OFFLINE:
        more += ", HF_HUB_OFFLINE is set, so no others are fetched"
        if not known:
            remedy = "unset it once, or give backbones as local-dir:PATH"
            return warn("weights", f"{folder}{more}", remedy)
    return room("weights", folder, remedy="set HF_HOME to a folder on another disk", more=more)


def temporary_folder() -> Finding:
    """Where libraries put what they throw away."""
    try:
        folder = Path(tempfile.gettempdir())
    except FileNotFoundError:
        return fail("temporary files", "no folder takes any", "set TMPDIR to one that does")
    same = folder.stat().st_dev == Path.cwd().stat().st_dev
    more = f", on {'the same' if same else 'another'} disk as the current folder"
    return room("temporary files", folder, remedy="set TMPDIR to a roomy folder", more=more)


def shared_memory() -> Finding:
    """Through which the workers of data loaders pass batches; small in containers."""
    total = shutil.disk_usage(SHARED_MEMORY).total
    told = f"{SHARED_MEMORY} has {in_words(total)}, through which data.workers pass batches"
    if total < LITTLE:
        remedy = "start the container with --shm-size 8g, or train with data.workers 0"
        return warn("shared memory", told, remedy)
    return ok("shared memory", told)
