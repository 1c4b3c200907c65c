"""Checkerboard patterns: power at the frequencies that up-sampling leaves, relative to the frequencies beside them.

An up-sampler of period p repeats an error every p pixels, so its power is at multiples of 1/p cycles per pixel (Odena et
al. 2016; Durall et al., CVPR 2020). A real image has no reason to have more power there than beside.
"""

import torch
from torch import Tensor

from favae.evaluation.spectrum import POWER_FLOOR

_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def peaks_db(levels_BCHW: Tensor, period: int) -> Tensor:
    """Mean power at all multiples of 1/period cycles per pixel except DC, over that of their eight neighbours: [B], dB.

    Power is that of the orthonormal 2-D DFT of 0..255 levels, mean over channels.

    Raises:
        ValueError: the sides are no multiples of `period`, or smaller than four periods.
    """
    height, width = levels_BCHW.shape[-2:]
    if height % period or width % period or min(height, width) < 4 * period:
        raise ValueError(
            f"checkerboard of period {period} got {height}x{width} images; expected sides that are multiples of {period}, "
            f"{4 * period} or more: set checkerboard.period of the protocol, or leave the metric out"
        )
    power_BHW = torch.fft.fft2(levels_BCHW.float(), norm="ortho").abs().square().mean(1).double()
    around_BHW = torch.stack([power_BHW.roll(shift, (1, 2)) for shift in _AROUND]).mean(0)
    sums = []
    for map_BHW in (power_BHW, around_BHW):
        lattice_BN = map_BHW[:, :: height // period, :: width // period].flatten(1)[:, 1:]  # without DC
        sums.append(lattice_BN.mean(1) + POWER_FLOOR)
    return 10 * torch.log10(sums[0] / sums[1])


def checkerboard(original_BCHW: Tensor, other_BCHW: Tensor, period: int) -> Tensor:
    """`peaks_db` of the reconstructions minus that of their originals: [B] float64 in dB, 0 where there is no pattern."""
    return peaks_db(other_BCHW, period) - peaks_db(original_BCHW, period)
