"""Terms of an objective by kind. All have one interface: pred and target [B,C,H,W] -> a weighted scalar.

A class in a file of this folder is a term if it has the attribute `kind`. It gets the range of the images as
`data_range` if it has such an argument.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from favae.losses.focal_variants import FocalVariantLoss
from favae.losses.frequency import FocalFrequencyLoss
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


_FUNCTIONS: dict[str, Callable[..., nn.Module]] = {
    "mse": partial(PixelLoss, "mse"),
    "l1": partial(PixelLoss, "l1"),
    "ffl": build_ffl,
}


@cache
def _classes() -> dict[str, Callable[..., nn.Module]]:
    """By kind: every class with a `kind` in the files of this folder."""
    found: dict[str, Callable[..., nn.Module]] = {}
    for file in pkgutil.iter_modules([str(Path(__file__).parent)]):
        module = importlib.import_module(f"favae.losses.{file.name}")
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        found |= {vars(loss)["kind"]: loss for loss in classes if "kind" in vars(loss)}
    return found


def build_term(kind: str, data_range: float, **arguments: Any) -> nn.Module:
    """The term `kind` with its arguments; `data_range` is the range of the images: 1 for [0, 1], 2 for [-1, 1].

    Raises:
        ValueError: an unknown kind, unknown arguments, or values that the term refuses.
    """
    if kind not in _FUNCTIONS and kind not in _classes():
        raise ValueError(f"kind of a term got {kind!r}; expected one of {list(_FUNCTIONS) + list(_classes())}")
    build = _FUNCTIONS[kind] if kind in _FUNCTIONS else _classes()[kind]
    if "data_range" in inspect.signature(build).parameters:
        arguments["data_range"] = data_range
    try:
        return build(**arguments)
    except TypeError as error:
        raise ValueError(f"a term of kind {kind!r} got {sorted(arguments)}: {error}") from error
