"""Compiled: torch.compile for training, when asked for."""

from typing import cast

import lightning as L

from vlm.models.decoder import TextDecoder
from vlm.models.encoder import RegionEncoder
from vlm.training.module import VisionLanguageModule


class Compiled(L.Callback):
    """Compiles the region encoder and the decoder's teacher-forced reading of captions.

    ``--trainer.callbacks+=vlm.training.Compiled``. Sizes stay symbolic, so that one graph of each
    serves all batches, however many images, regions and tokens they have; packing, whose sizes
    hang on the tokens, runs uncompiled between them. The first step takes a minute. Captions are
    written, questions read and weights kept as without it.

    On a CPU linear layers then are those of MKL, and an AVX-512 processor that is not Intel's is
    slower with it; it is meant for accelerators.

    Args:
        backend: of torch.compile.
    """

    def __init__(self, backend: str = "inductor") -> None:
        self.backend = backend

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Compiles in place; nothing is traced before the first batch."""
        for part in cast("VisionLanguageModule", pl_module).network.modules():
            if isinstance(part, RegionEncoder | TextDecoder):
                part.compile(dynamic=True, backend=self.backend)
