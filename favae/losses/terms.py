"""Terms of a reconstruction objective by name: one interface, pred and target [B,C,H,W] to a weighted scalar."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from favae.losses.focal_variants import FocalVariantLoss
from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.spectral_regularization import SpectralRegularization
from favae.losses.ssim import SSIMLoss
from favae.losses.stft import STFTLoss


class PixelLoss(nn.Module):
    """weight * mean squared (`kind="mse"`) or absolute (`"l1"`) difference."""

    def __init__(self, kind: str, weight: float = 1.0) -> None:
        super().__init__()
        if kind not in ("mse", "l1"):
            raise ValueError(f"kind must be 'mse' or 'l1', got {kind!r}")
        self.distance = F.mse_loss if kind == "mse" else F.l1_loss
        self.weight = weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two tensors of one shape, a scalar >= 0 in fp32."""
        return self.weight * self.distance(pred.float(), target.float())


def _build_ffl(
    data_range: float, weight: float, alpha: float, patch_factor: int, representation: str, spectra: str
) -> nn.Module:
    if representation != "full":
        return FocalVariantLoss(weight, alpha, representation)
    return FocalFrequencyLoss(weight, alpha, patch_factor, ave_spectrum=spectra == "batch_mean")


_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mse": lambda data_range, **given: PixelLoss("mse", **given),
    "l1": lambda data_range, **given: PixelLoss("l1", **given),
    "ssim": lambda data_range, weight, **given: SSIMLoss(weight, data_range, **given),
    "ffl": _build_ffl,
    "spectral_regularization": lambda data_range, weight: SpectralRegularization(weight, data_range),
    "stft": lambda data_range, weight, **given: STFTLoss(weight, **given),
}


def build_term(kind: str, data_range: float, **arguments: Any) -> nn.Module:
    """The term `kind` with its arguments; `data_range` is the width of the scale of the images, 1 or 2.

    Raises:
        ValueError: an unknown kind.
    """
    if kind not in _BUILDERS:
        raise ValueError(f"unknown term {kind!r}; there are: {', '.join(_BUILDERS)}")
    return _BUILDERS[kind](data_range=data_range, **arguments)
