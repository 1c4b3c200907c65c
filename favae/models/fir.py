"""Resampling by the FIR filter [1, 3, 3, 1] x [1, 3, 3, 1] (StyleGAN2), as depth-wise convolutions that are twice
differentiable.

Tensor legend: B batch, C channels, H W pixels.
"""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Resampling = Literal["up", "down", "blur"]

_TAPS = (1.0, 3.0, 3.0, 1.0)


class Fir(nn.Module):
    """The filter with a sum of 1, zeros beyond the border.

    "up" doubles the size and keeps the mean (away from the border it is bilinear interpolation); "down" halves the
    size; "blur" keeps it, except for the effect of `padding`. The result equals inserting zeros, filtering and dropping
    values one after the other, but the zeros are not computed.

    Args:
        resampling: see above.
        padding: zeros on each side, for "blur" only: the size grows by 2 * padding - 3.
        gain: factor on the result, for "blur" only.

    Raises:
        ValueError: unknown `resampling`, or negative padding.
    """

    kernel: Tensor

    def __init__(self, resampling: Resampling, padding: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        if resampling not in get_args(Resampling):
            raise ValueError(f"FIR got resampling {resampling!r}; expected one of {', '.join(get_args(Resampling))}")
        if padding < 0:
            raise ValueError(f"FIR got padding {padding}; expected at least 0")
        if resampling != "blur":
            padding, gain = 1, 4.0 if resampling == "up" else 1.0
        self.resampling, self.padding = resampling, padding
        taps = torch.tensor(_TAPS)
        kernel = torch.outer(taps, taps)
        self.register_buffer("kernel", (gain / kernel.sum()) * kernel, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H', W']; "down" needs even H and W."""
        channels = x_BCHW.shape[1]
        kernel = self.kernel.to(x_BCHW.dtype).expand(channels, 1, 4, 4)
        if self.resampling == "up":
            return F.conv_transpose2d(x_BCHW, kernel, stride=2, padding=1, groups=channels)
        return F.conv2d(
            x_BCHW, kernel, stride=2 if self.resampling == "down" else 1, padding=self.padding, groups=channels
        )
