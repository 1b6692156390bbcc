"""LightningCLI's parser, its errors told in one sentence with the nearest option suggested."""

import difflib
import inspect
import re
from typing import NoReturn

import lightning as L
from lightning.pytorch.cli import LightningArgumentParser

from vlm.data import CaptionData, JointData, VQAData
from vlm.decoding import BeamSearch, DiverseBeamSearch, Greedy, Sampling
from vlm.errors import InputError
from vlm.models.backbone import FrozenBackbone
from vlm.models.decoder import TextDecoder
from vlm.models.encoder import RegionEncoder
from vlm.training import AnsweringModule, CaptioningModule, CrossEntropy, JointModule, SelfCritical

TOLD = r"there is no option '[^']*'; (did you mean '[^']*'\?|see --help)"
UNKNOWN = (
    r"(?:Option|Key|key) '([\w.]+)' is not (?:accepted|expected)",
    r"does not accept option '([\w.]+)'",
    r"nrecognized arguments: --(\S+)",
)
TOP = (
    "model",
    "data",
    "trainer",
    "output",
    "backbone",
    "ensemble",
    "ckpt_path",
    "seed_everything",
    "config",
)
OPTIONS_OF = (
    L.Trainer,
    AnsweringModule,
    CaptioningModule,
    JointModule,
    CaptionData,
    VQAData,
    JointData,
    FrozenBackbone,
    RegionEncoder,
    TextDecoder,
    CrossEntropy,
    SelfCritical,
    BeamSearch,
    DiverseBeamSearch,
    Greedy,
    Sampling,
)


class OneSentenceParser(LightningArgumentParser):
    """Says what is wrong with an option in one sentence, the nearest one suggested."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises what the command line prints."""
        text = re.sub(r"\s+", " ", str(message)).strip()
        told = re.search(TOLD, text)
        if told:  # an inner parser has said it already
            raise InputError(told[0]) from ex
        unknown = next((found for pattern in UNKNOWN if (found := re.findall(pattern, text))), [])
        if unknown:
            name = unknown[0].partition("=")[0]
            last = name.rpartition(".")[2]
            known = {option for part in OPTIONS_OF for option in inspect.signature(part).parameters}
            nearest = difflib.get_close_matches(name.partition(".")[0], TOP, n=1, cutoff=0.8)
            if not nearest or nearest[0] == name.partition(".")[0]:
                names = sorted({*known, *TOP} - {name})
                begun = [each for each in names if each.startswith(f"{last}_")]
                nearest = begun or difflib.get_close_matches(last, names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else "see --help"
            raise InputError(f"there is no option {name!r}; {hint}") from ex
        reason = re.split(r" Errors: - ", text)[-1].partition(" - Expected a <class")[0]
        reason = reason.partition("; see --help")[0]  # an inner parser has said it already
        raise InputError(f"{reason[:300]}; see --help") from ex


def sentence_within(error: BaseException | None) -> InputError | None:
    """The sentence that jsonargparse has wrapped into errors of its own, if there is one."""
    seen: set[int] = set()
    while error is not None and not isinstance(error, InputError) and id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return error if isinstance(error, InputError) else None
