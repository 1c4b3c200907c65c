"""Ablations of the focal frequency loss (Jiang et al., ICCV 2021, Tables 7 and 8).

Tensor legend: B batch, C channels, H W pixels.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from favae.models.bounds import not_negative


def dct_matrix(length: int) -> Tensor:
    """The orthonormal DCT-II: [length, length], row k is frequency k."""
    n = torch.arange(length, dtype=torch.float64)
    matrix = torch.cos(math.pi / length * (n + 0.5) * n[:, None]) * math.sqrt(2 / length)
    matrix[0] /= math.sqrt(2)
    return matrix


def _without_frequency(pred: Tensor, target: Tensor) -> Tensor:
    return (pred - target).abs()


def _dct(pred: Tensor, target: Tensor) -> Tensor:
    rows, columns = (dct_matrix(n).to(pred) for n in pred.shape[-2:])
    return (rows @ (pred - target) @ columns.T).abs()


def _without_phase(pred: Tensor, target: Tensor) -> Tensor:
    ours, theirs = (torch.fft.fft2(x, norm="ortho") for x in (pred, target))
    return (ours.abs() - theirs.abs()).abs()


def _without_amplitude(pred: Tensor, target: Tensor) -> Tensor:
    ours, theirs = (torch.sgn(torch.fft.fft2(x, norm="ortho")) for x in (pred, target))
    return (ours - theirs).abs()


_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "without_frequency": _without_frequency,
    "without_phase": _without_phase,
    "without_amplitude": _without_amplitude,
    "dct": _dct,
}


class FocalVariantLoss(nn.Module):
    """weight * mean of w d^2, with w = d^alpha / max d^alpha per image and channel, detached.

    `representation` determines d at each pixel or frequency:
    - `without_frequency`: |pred - target|, the same loss in the spatial domain;
    - `without_phase`: the absolute difference of the amplitudes of the orthonormal 2-D DFT;
    - `without_amplitude`: the distance between the phases as points on the unit circle (the paper does not say how
      phases are compared; a difference of angles would jump from pi to -pi);
    - `dct`: |DCT(pred - target)|, orthonormal DCT-II.

    Raises:
        ValueError: an unknown representation, weight < 0 or alpha < 0.
    """

    def __init__(self, representation: str, weight: float = 1.0, alpha: float = 1.0) -> None:
        super().__init__()
        if representation not in _DISTANCES:
            raise ValueError(f"representation got {representation!r}; expected one of {sorted(_DISTANCES)}")
        not_negative("weight", weight)
        not_negative("alpha", alpha)
        self.weight, self.alpha, self.distance = weight, alpha, _DISTANCES[representation]

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two [B,C,H,W] batches, a scalar >= 0 in fp32. Raises ValueError for different shapes."""
        if pred.shape != target.shape or pred.ndim != 4:
            raise ValueError(
                f"got shapes {tuple(pred.shape)} and {tuple(target.shape)}; expected the same [B,C,H,W] twice"
            )
        d_BCHW = self.distance(pred.float(), target.float())
        w_BCHW = d_BCHW.detach() ** self.alpha
        largest = w_BCHW.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(w_BCHW.dtype).tiny)
        return self.weight * (w_BCHW / largest * d_BCHW.square()).mean()
