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
        self.gain = gain
        taps = torch.tensor(_TAPS)
        kernel = torch.outer(taps, taps)
        self.register_buffer("kernel", (gain / kernel.sum()) * kernel, persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H', W']; "down" needs even H and W."""
        if x_BCHW.device.type == "cuda":
            return self.by_sums(x_BCHW)
        channels = x_BCHW.shape[1]
        kernel = self.kernel.to(x_BCHW.dtype).expand(channels, 1, 4, 4)
        if self.resampling == "up":
            return F.conv_transpose2d(x_BCHW, kernel, stride=2, padding=1, groups=channels)
        return F.conv2d(
            x_BCHW, kernel, stride=2 if self.resampling == "down" else 1, padding=self.padding, groups=channels
        )

    def by_sums(self, x_BCHW: Tensor) -> Tensor:
        """As `forward`, as sums of shifted images along one axis after the other: for many channels a GPU has no fast depth-wise
        convolution with double gradients."""
        for axis in (-2, -1):
            x_BCHW = self._along(x_BCHW, axis)
        return x_BCHW * (self.gain / sum(_TAPS) ** 2)

    def _along(self, x_BCHW: Tensor, axis: int) -> Tensor:
        """The taps, without their factor, along one axis."""
        sides = (self.padding, self.padding)
        padded = F.pad(x_BCHW, sides if axis == -1 else (0, 0, *sides))
        stride = 2 if self.resampling == "down" else 1
        count = padded.shape[axis] - (2 if self.resampling == "up" else 3)

        def tap(first: int) -> Tensor:
            chosen = slice(first, first + count, stride)
            return padded[..., chosen] if axis == -1 else padded[..., chosen, :]

        if self.resampling == "up":  # of four taps, two fall on each new position, the others on zeros
            middle = 3.0 * tap(1)
            return torch.stack((middle + tap(0), middle + tap(2)), axis % 4 + 1).flatten(axis % 4, axis % 4 + 1)
        return torch.add(tap(0) + tap(3), tap(1) + tap(2), alpha=3)
