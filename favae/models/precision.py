"""Where 16 bits would lose too much."""

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Autocast off for what is computed on `device`; tensors without storage know no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
