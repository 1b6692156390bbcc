"""What an accelerator is and computes in."""

import torch


def is_gpu(accelerator: str) -> bool:
    """Whether a run will be on a CUDA device.

    Args:
        accelerator: as Lightning names it.
    """
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def has_bf16(accelerator: str) -> bool:
    """Whether that device computes in bfloat16; a CPU never does unasked."""
    return is_gpu(accelerator) and torch.cuda.is_bf16_supported(including_emulation=False)
