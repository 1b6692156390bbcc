"""AdamW with a linear warm-up and a cosine to zero."""

import math

import lightning as L
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from vlm.errors import InputError


def training_steps(trainer: L.Trainer, batches: int) -> float:
    """How many steps the optimiser will make.

    ``trainer.estimated_stepping_batches`` says the same, but sets up the data before a
    resumed run has its state back, and the run then starts its epoch anew.

    Args:
        trainer: about to fit.
        batches: of an epoch.
    """
    limit = trainer.limit_train_batches
    if limit is not None:
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    steps = epochs * math.ceil(batches / trainer.accumulate_grad_batches)
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)


def adamw_with_cosine(
    model: nn.Module, *, learning_rate: float, weight_decay: float, warmup: float, steps: float
) -> dict:
    """What Lightning wants of ``configure_optimizers``.

    Args:
        model: whose parameters with a gradient are trained.
        learning_rate: at the peak.
        weight_decay: on matrices; biases and norms are left alone (Loshchilov and
            Hutter 2019, arXiv:1711.05101).
        warmup: share of the steps in which the learning rate rises linearly.
        steps: of the whole training.

    Raises:
        InputError: if the training has no end, so that the cosine has none either.
    """
    if math.isinf(steps):
        raise InputError(
            "the learning rate follows the length of the training, which has no end; "
            "give trainer.max_epochs or trainer.max_steps"
        )
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), fused=True)
    rising = max(1, round(warmup * steps))

    def share_of_peak(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1, steps - rising))))

    schedule = {"scheduler": LambdaLR(optimiser, share_of_peak), "interval": "step"}
    return {"optimizer": optimiser, "lr_scheduler": schedule}
