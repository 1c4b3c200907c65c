"""Focal frequency loss for unpaired batches: spectra averaged over the batch (FFL paper, section 4.3, StyleGAN2).

Tensor legend: B images, C channels, H W pixels.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.gan_regularization import AcrossRanks
from favae.models.ranks import mean_over_ranks

BatchSpectra = Literal["batch_mean", "batch_power"]
_SMALLEST_POWER = 1e-12  # keeps the gradient of the square root finite at frequencies without power


class BatchFrequencyLoss(nn.Module):
    """Distance between the average spectra of two batches, with weights as in FFL.

    "batch_mean" is that of the paper. Because the DFT is linear, averaging complex spectra over the batch is the same
    as FFL of the two mean images. So every image gets the same gradient, and with w = 1 the expected loss is |mean_fake
    - mean_real|^2 + (var_fake + var_real) / B per value, which favours generators with less variance.

    "batch_power" is a control experiment of this project. It averages powers |F|^2 over the batch and compares root
    mean square amplitudes A: mean of w (A_fake - A_real)^2, w = |A_fake - A_real|^alpha over its maximum per channel.

    Args:
        spectra: see above.
        across_ranks: "local" averages over the rank's own batch, as the authors' package does; the noise floor of R
            ranks is then R times that of one rank on the union of the batches. "global" averages over all ranks, which
            equals one rank on the union, in value and in averaged gradients.
        weight: factor on the result.
        alpha: exponent of the weights.

    Raises:
        ValueError: unknown `spectra` or `across_ranks`, alpha < 0.
    """

    kind = "batch_ffl"

    def __init__(
        self,
        spectra: BatchSpectra = "batch_mean",
        across_ranks: AcrossRanks = "local",
        weight: float = 1.0,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value, known in (("spectra", spectra, BatchSpectra), ("across_ranks", across_ranks, AcrossRanks)):
            if value not in get_args(known):
                raise ValueError(
                    f"batch spectrum loss got {name} {value!r}; expected one of {', '.join(get_args(known))}"
                )
        self.spectra, self.across_ranks = spectra, across_ranks
        self.weight, self.alpha = weight, alpha
        self.of_means = FocalFrequencyLoss(weight, alpha)

    def forward(self, fake_BCHW: Tensor, real_BCHW: Tensor) -> Tensor:
        """The loss, a scalar, of generated and real images in the same range, [B,C,H,W]; the batches may have different sizes.

        Raises:
            ValueError: different channels or image sizes.
        """
        if fake_BCHW.ndim != 4 or fake_BCHW.shape[1:] != real_BCHW.shape[1:]:
            raise ValueError(
                f"batch spectrum loss got shapes {tuple(fake_BCHW.shape)} and {tuple(real_BCHW.shape)}; "
                "expected [B, C, H, W] twice, with equal C, H and W"
            )
        if self.spectra == "batch_mean":
            fake, real = (self._mean(x) for x in (fake_BCHW, real_BCHW))
            return self.of_means(fake, real)
        fake, real = (self._mean(_power(x)).clamp(min=_SMALLEST_POWER).sqrt() for x in (fake_BCHW, real_BCHW))
        error = fake - real
        w = error.detach().abs().pow(self.alpha)
        w = w / w.amax((-2, -1), keepdim=True).clamp(min=torch.finfo(w.dtype).tiny)
        return self.weight * (w * error.square()).mean()

    def _mean(self, x_BCHW: Tensor) -> Tensor:
        """Mean over the batch, [1, C, H, W]."""
        mean = x_BCHW.mean(0, keepdim=True, dtype=torch.promote_types(x_BCHW.dtype, torch.float32))
        return mean_over_ranks(mean) if self.across_ranks == "global" else mean


def _power(x_BCHW: Tensor) -> Tensor:
    """|F|^2 over the full spectrum, orthonormal, [B, C, H, W]."""
    spectrum = torch.fft.fft2(x_BCHW if x_BCHW.dtype == torch.float64 else x_BCHW.float(), norm="ortho")
    return spectrum.real.square() + spectrum.imag.square()
