"""Error of the radially averaged power spectrum, which shows the frequencies that a reconstruction lacks or adds.

Power is that of the orthonormal 2-D DFT of 0..255 levels, averaged over channels and over the frequencies of a ring
(azimuthal average, as Durall et al., CVPR 2020). Radii are relative to Nyquist: 1 is 0.5 cycles per pixel along an
axis, sqrt 2 the corner.
"""

import math

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from favae.config.evaluation import SpectrumMetricConfig

BANDS = ("low", "mid", "high")
POWER_FLOOR = 1 / 12  # power per frequency of rounding to integers: anything below it is not signal


class RadialSpectrum:
    """Radial spectra of originals and reconstructions of one size, and their mean over all images added."""

    def __init__(self, height: int, width: int, settings: SpectrumMetricConfig):
        y_H, x_W = (2 * torch.fft.fftfreq(n, dtype=torch.float64) for n in (height, width))
        # Squares are compared, so that diagonal frequencies, which are exactly on edges, get the same ring on every
        # machine.
        squared_HW = (y_H[:, None].square() + x_W[None, :].square()) / 2
        ring_HW = (settings.rings**2 * squared_HW).sqrt().long().clamp(max=settings.rings - 1)
        ring_HW[0, 0] = settings.rings  # DC is brightness, not structure: it is a separate ring, which is dropped below
        self.ring_F = ring_HW.flatten()
        self.frequencies_R = torch.bincount(self.ring_F, minlength=settings.rings + 1)[:-1].double()
        self.radius_R = (np.arange(settings.rings) + 0.5) * math.sqrt(2) / settings.rings
        band_R = np.digitize(self.radius_R, [settings.low_below, settings.high_from])
        self.filled_R = self.frequencies_R.numpy() > 0  # rings of small images may contain no frequency
        self.bands = {name: torch.from_numpy((band_R == i) & self.filled_R) for i, name in enumerate(BANDS)}
        self.images = 0
        self.sums_3R = np.zeros((3, settings.rings))  # original dB, reconstruction dB, |error| dB

    def power(self, levels_BCHW: Tensor) -> Tensor:
        """Mean power in each ring, in dB of squared levels: [B, R] float64; empty rings have the floor."""
        power_BHW = torch.fft.fft2(levels_BCHW.float(), norm="ortho").abs().square().mean(1)
        rings = len(self.frequencies_R)
        sums_BR = torch.zeros(len(power_BHW), rings + 1, dtype=torch.float64, device=power_BHW.device)
        sums_BR.index_add_(1, self.ring_F.to(power_BHW.device), power_BHW.flatten(1).double())
        mean_BR = sums_BR[:, :-1] / self.frequencies_R.clamp(min=1).to(sums_BR.device)
        return 10 * torch.log10(mean_BR + POWER_FLOOR)

    def update(self, original_BCHW: Tensor, other_BCHW: Tensor) -> dict[str, Tensor]:
        """Add a batch of levels; return `low`, `mid`, `high`: mean |error| in dB over the band's rings, each [B]."""
        original_BR, other_BR = self.power(original_BCHW).cpu(), self.power(other_BCHW).cpu()
        error_BR = (other_BR - original_BR).abs()
        self.images += len(error_BR)
        self.sums_3R += np.stack([x_BR.sum(0).numpy() for x_BR in (original_BR, other_BR, error_BR)])
        return {name: error_BR[:, rings].mean(1) for name, rings in self.bands.items() if rings.any()}

    def curves(self) -> pd.DataFrame:
        """One row per ring that contains frequencies: `radius` (its middle, Nyquist = 1), `band`, and means over images
        of `original_db`, `reconstruction_db`, `error_db` (the mean absolute difference)."""
        band = np.select([self.bands[name].numpy() for name in BANDS], BANDS, default="")
        means_3R = self.sums_3R / max(self.images, 1)
        columns = dict(zip(("original_db", "reconstruction_db", "error_db"), means_3R))
        table = pd.DataFrame({"radius": self.radius_R, "band": band, **columns})
        return table[self.filled_R].reset_index(drop=True)
