"""Spectral regularisation (Durall et al., Watch your Up-Convolution, CVPR 2020), a loss with which the FFL paper
compares its own.

Tensor legend: B batch, C channels, H W pixels, R radii.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.bounds import not_negative

_SMALLEST = 1e-8  # keeps the logarithms finite


class SpectralRegularization(nn.Module):
    """weight * cross-entropy between the azimuthally averaged power profiles of output and image.

    A profile is the power of the 2-D DFT of the grey image (mean over channels, pixels in [0, 1]), averaged over the frequencies
    of each integer radius and divided by that of radius 0 (Durall et al., equations 5 to 7). It is in [0, 1]:
    a non-negative image has its largest power at frequency 0.

    Args:
        weight: factor on the result.
        data_range: 1 for images in [0, 1], 2 for images in [-1, 1].
    """

    kind = "spectral_regularization"

    def __init__(self, weight: float = 1.0, data_range: float = 2.0) -> None:
        super().__init__()
        not_negative("weight", weight)
        self.weight, self.signed = weight, data_range == 2.0

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two [B,C,H,W] batches, a scalar >= 0 in fp32. Raises ValueError for different shapes, or a side of 1."""
        if pred.shape != target.shape or pred.ndim != 4 or min(pred.shape[-2:]) < 2:
            raise ValueError(
                f"spectral regularisation got shapes {tuple(pred.shape)} and {tuple(target.shape)}; "
                "expected the same [B,C,H,W] twice, at least 2 pixels wide and high"
            )
        ours, theirs = self.profile(pred), self.profile(target.detach())
        return self.weight * F.binary_cross_entropy(ours, theirs)

    def profile(self, image_BCHW: Tensor) -> Tensor:
        """Relative power at the radii 1, 2, ... up to half of the shorter side: [B,R] in (0, 1)."""
        grey_BHW = image_BCHW.float().mean(1)
        grey_BHW = (grey_BHW + 1) / 2 if self.signed else grey_BHW
        power_BHW = torch.fft.fft2(grey_BHW).abs().square()
        height, width = grey_BHW.shape[-2:]
        y, x = (torch.fft.fftfreq(n, d=1 / n, device=power_BHW.device) for n in (height, width))
        radius_HW = torch.hypot(y[:, None], x[None, :]).round().long()
        radii = min(height, width) // 2
        # Space for every radius: the number depends only on the image size, so the device is not synchronised.
        sums = power_BHW.new_zeros(len(power_BHW), math.ceil(math.hypot(height, width)))
        counts = sums.new_zeros(sums.shape[1]).index_add(
            0, radius_HW.flatten(), torch.ones_like(power_BHW[0]).flatten()
        )
        sums = sums.index_add(1, radius_HW.flatten(), power_BHW.flatten(1))
        means = sums[:, : radii + 1] / counts[: radii + 1]
        relative = means[:, 1:] / means[:, :1].clamp(min=_SMALLEST)
        return relative.clamp(_SMALLEST, 1 - _SMALLEST)
