"""Terms of a reconstruction objective by name. All have one interface: pred and target [B,C,H,W] -> a weighted scalar."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from favae.losses.focal_variants import FocalVariantLoss
from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.spectral_regularization import SpectralRegularization
from favae.losses.ssim import SSIMLoss
from favae.losses.stft import STFTLoss
from favae.models.bounds import not_negative


class PixelLoss(nn.Module):
    """weight * mean squared (`kind="mse"`) or absolute (`"l1"`) difference."""

    def __init__(self, kind: str, weight: float = 1.0) -> None:
        super().__init__()
        if kind not in ("mse", "l1"):
            raise ValueError(f"kind got {kind!r}; expected 'mse' or 'l1'")
        not_negative("weight", weight)
        self.distance = F.mse_loss if kind == "mse" else F.l1_loss
        self.weight = weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two tensors of the same shape, a scalar >= 0 in fp32."""
        return self.weight * self.distance(pred.float(), target.float())


def build_ffl(representation: str = "full", spectra: str = "image", **given: Any) -> nn.Module:
    """Focal frequency loss (`representation="full"`) or one of its ablations; `given` are the arguments of its class.

    Raises:
        ValueError: unknown `spectra`, or arguments that need representation "full".
    """
    if representation == "full":
        if spectra not in ("image", "batch_mean"):
            raise ValueError(f"spectra got {spectra!r}; expected 'image' or 'batch_mean'")
        return FocalFrequencyLoss(ave_spectrum=spectra == "batch_mean", **given)
    if spectra != "image" or given.pop("patch_factor", 1) != 1:
        raise ValueError(
            f"patch_factor and spectra belong to representation 'full'; leave them out for {representation!r}"
        )
    return FocalVariantLoss(representation=representation, **given)


# By kind; the argument `data_range` is that of `build_term`.
_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "mse": lambda data_range, **given: PixelLoss("mse", **given),
    "l1": lambda data_range, **given: PixelLoss("l1", **given),
    "ssim": lambda data_range, **given: SSIMLoss(data_range=data_range, **given),
    "ffl": lambda data_range, **given: build_ffl(**given),
    "spectral_regularization": lambda data_range, **given: SpectralRegularization(data_range=data_range, **given),
    "stft": lambda data_range, **given: STFTLoss(**given),
}


def build_term(kind: str, data_range: float, **arguments: Any) -> nn.Module:
    """The term `kind` with its arguments; `data_range` is the range of the images: 1 for [0, 1], 2 for [-1, 1].

    Raises:
        ValueError: an unknown kind, unknown arguments, or values that the term refuses.
    """
    if kind not in _BUILDERS:
        raise ValueError(f"kind of a term got {kind!r}; expected one of {list(_BUILDERS)}")
    try:
        return _BUILDERS[kind](data_range=data_range, **arguments)
    except TypeError as error:
        raise ValueError(f"a term of kind {kind!r} got {sorted(arguments)}: {error}") from error
