"""Structural similarity (Wang et al. 2004) as a loss.

Tensor legend: B batch, C channels, H W pixels, h w positions at which the whole window fits, S = 5 statistics.
"""

import torch
from torch import Tensor, nn

from favae.losses.bands import at_each_window
from favae.models.bounds import above_zero, not_negative, whole


def gaussian_window(size: int, sigma: float) -> Tensor:
    """exp(-n^2 / (2 sigma^2)) for n symmetric about 0, normalised to sum 1: [size]."""
    n = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    window = torch.exp(-(n**2) / (2 * sigma**2))
    return (window / window.sum()).float()


class SSIMLoss(nn.Module):
    """weight * -mean SSIM, over images, channels and the positions at which the 11x11 window fits.

    Constants are those of the paper and of `tf.image.ssim`, which the official STFT-VAE code calls: sigma 1.5, K1 = 0.01,
    K2 = 0.03. The Gaussian is separable, so means over windows are two small matrix products instead of a depthwise
    convolution.

    Args:
        weight: factor on the result.
        data_range: largest minus smallest value that images can take (1 for [0, 1], 2 for [-1, 1]).
        size: side of the window in pixels.
        sigma: standard deviation of the Gaussian in pixels.

    Raises:
        ValueError: an argument out of range.
    """

    window: Tensor

    kind = "ssim"

    def __init__(self, weight: float = 1.0, data_range: float = 1.0, size: int = 11, sigma: float = 1.5) -> None:
        super().__init__()
        not_negative("weight", weight)
        whole("size", size)
        above_zero("sigma", sigma)
        self.weight = weight
        self.size = size
        self.constants = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
        self.register_buffer("window", gaussian_window(size, sigma), persistent=False)
        self._bands: dict[tuple[int, torch.device], Tensor] = {}

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two [B,C,H,W] batches, a scalar in [-weight, weight].

        Raises:
            ValueError: different shapes, or images smaller than the window.
        """
        return -self.weight * self.similarity(pred, target).mean()

    def similarity(self, pred: Tensor, target: Tensor) -> Tensor:
        """SSIM at every position, [B,C,h,w] in [-1, 1], computed in fp32."""
        if pred.shape != target.shape or pred.ndim != 4 or min(pred.shape[-2:]) < self.size:
            raise ValueError(
                f"SSIM got shapes {tuple(pred.shape)} and {tuple(target.shape)}; expected the same [B,C,H,W] twice, "
                f"at least {self.size} pixels wide and high"
            )
        x, y = pred.float(), target.float()
        statistics_SBChw = self._local_means(torch.stack([x, y, x * x, y * y, x * y]))
        mean_x, mean_y, square_x, square_y, product = statistics_SBChw.unbind()
        c1, c2 = self.constants
        both, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
        luminance = (2 * both + c1) / (squares + c1)
        return luminance * (2 * (product - both) + c2) / (square_x + square_y - squares + c2)

    def _local_means(self, x: Tensor) -> Tensor:
        """Gaussian means of [...,H,W] at the positions where the window fits: [...,h,w]."""
        rows_hH, columns_wW = self._band(x.shape[-2]), self._band(x.shape[-1])
        return rows_hH @ x @ columns_wW.T

    def _band(self, length: int) -> Tensor:
        """Matrix whose rows are the window at each position, [length - size + 1, length]; cached."""
        place = length, self.window.device
        if place not in self._bands:
            self._bands[place] = at_each_window(self.window[None, None], length, stride=1)[0]
        return self._bands[place]
