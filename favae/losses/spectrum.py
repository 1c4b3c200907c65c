"""Spectrum loss (SL) and dynamic spectrum loss (DSL) of FA-VAE: they compare encoder features with decoder complements.

Both are the focal frequency loss of A_i and C_{3-i}, i = 0..3, after a Gaussian low-pass filter.

Tensor legend: B batch, C channels, H W feature size, k kernel size.
"""

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from favae.losses.frequency import FocalFrequencyLoss
from favae.models.bounds import not_negative, whole
from favae.models.precision import full_precision

Sharing = Literal["pairwise", "per_feature"]
SigmaIndex = Literal["paper", "official"]
PAIRS = 4


def gaussian_kernel_1d(kernel_size: int, sigma: Tensor) -> Tensor:
    """Gaussian [k], g_n proportional to exp(-(n / sigma)^2 / 2) for n = -(k-1)/2 .. (k-1)/2, with sum 1.

    Differentiable in `sigma`, a scalar in positions. Only sigma^2 matters; 0 gives NaN. The paper's mu is this kernel
    size, not a mean (official code).

    Raises:
        ValueError: the kernel size is not a positive odd number.
    """
    whole("kernel_size", kernel_size, 4095)
    if kernel_size % 2 == 0:
        raise ValueError(
            f"kernel_size got {kernel_size}; expected an odd number: use {kernel_size - 1} or {kernel_size + 1}"
        )
    radius = kernel_size // 2
    n_k = torch.arange(-radius, radius + 1, dtype=sigma.dtype, device=sigma.device)
    # softmax is exp divided by its sum, without underflow or overflow.
    return torch.softmax(-0.5 * (n_k / sigma) ** 2, dim=0)


def _blur_matrix(size: int, kernel_k: Tensor) -> Tensor:
    """R [size, size]: R @ x is x filtered along its first axis, with reflection at both ends, without repeating the edge."""
    radius = kernel_k.numel() // 2
    if radius >= size:
        raise ValueError(
            f"kernel_size got {kernel_k.numel()} for a feature of {size}x{size}, because the blur reflects at the border; "
            f"expected at most {2 * size - 1}: use that, or larger images"
        )
    positions = torch.arange(size, device=kernel_k.device)
    reach_Nk = positions[:, None] + torch.arange(-radius, radius + 1, device=kernel_k.device)
    source_Nk = (size - 1) - ((size - 1) - reach_Nk.abs()).abs()
    taps_NkN = (source_Nk[..., None] == positions).to(kernel_k.dtype)
    return torch.einsum("k,nkm->nm", kernel_k, taps_NkN)


def gaussian_blur(x_BCHW: Tensor, kernel_size: int, sigma: Tensor) -> Tensor:
    """Filter H and W of each channel with the Gaussian of `gaussian_kernel_1d`, with reflection at the borders.

    Computed as R_H x R_W^T with banded matrices, which up to feature sizes of 256 is faster than a depth-wise
    convolution. Differentiable in x and sigma. Output [B, C, H, W], fp32 (fp64 for fp64 input).

    Raises:
        ValueError: even kernel size, or one too large for the reflection at the border.
    """
    dtype = torch.promote_types(x_BCHW.dtype, torch.float32)
    with full_precision(x_BCHW.device):
        kernel_k = gaussian_kernel_1d(kernel_size, sigma.to(dtype))
        height, width = x_BCHW.shape[-2:]
        rows_HH = _blur_matrix(height, kernel_k)
        columns_WW = rows_HH if width == height else _blur_matrix(width, kernel_k)
        return rows_HH @ (x_BCHW.to(dtype) @ columns_WW.T)


class _PairLoss(nn.Module):
    """weight * mean over the four pairs of FFL(D_i), where D_i is the difference of the filtered complement and tap.

    Args:
        weight: factor on the result; 0.01 in every released configuration.
        detach_taps: with False the loss trains encoder and decoder (official code); True detaches the taps, so that the
            encoder cannot lower the loss by shrinking its features.

    Raises:
        ValueError: weight < 0.
    """

    def __init__(self, weight: float = 0.01, detach_taps: bool = False) -> None:
        super().__init__()
        not_negative("weight", weight)
        self.weight = weight
        self.detach_taps = detach_taps
        self.ffl = FocalFrequencyLoss()

    def forward(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Pairs (A_i, C_{3-i}), each [B, C, H, W] twice, i = 0..3 (`FAVAEOutput.pairs()`) -> scalar, fp32.

        Raises:
            ValueError: not four pairs, or different shapes within a pair.
        """
        losses = [self._pair_loss(i, tap, complement) for i, (tap, complement) in enumerate(pairs)]
        if len(losses) != PAIRS:
            raise ValueError(
                f"a spectrum loss got {len(losses)} pairs of features; expected {PAIRS}: with fcm 'none' set its kind to 'none'"
            )
        return self.weight * torch.stack(losses).mean()

    def _pair_loss(self, i: int, tap_BCHW: Tensor, complement_BCHW: Tensor) -> Tensor:
        if tap_BCHW.shape != complement_BCHW.shape:
            raise ValueError(
                f"pair {i} has shapes {tuple(tap_BCHW.shape)} and {tuple(complement_BCHW.shape)}; expected equal ones: "
                "tap A_i goes with complement C_(3-i)"
            )
        if self.detach_taps:
            tap_BCHW = tap_BCHW.detach()
        dtype = torch.promote_types(tap_BCHW.dtype, torch.float32)
        return self.ffl.of_difference(self._difference(i, tap_BCHW.to(dtype), complement_BCHW.to(dtype)))

    def _difference(self, i: int, tap_BCHW: Tensor, complement_BCHW: Tensor) -> Tensor:
        """Filtered complement minus filtered tap of pair i."""
        raise NotImplementedError


class FeatureFrequencyLoss(_PairLoss):
    """FFL of the features as they are, without a filter (paper Table 2, row 5: "FFL on 4 features")."""

    def _difference(self, i: int, tap_BCHW: Tensor, complement_BCHW: Tensor) -> Tensor:
        return complement_BCHW - tap_BCHW


class SpectrumLoss(_PairLoss):
    """SL: FFL of features filtered with one fixed Gaussian (paper Table 2, row 6).

    Args:
        kernel_size: k, odd; 5 in the official scripts, which call the paper's 9 a misprint.
        sigma: standard deviation in positions of the feature map.
        weight, detach_taps: see `_PairLoss`.

    Raises:
        ValueError: even kernel size, or sigma <= 0.
    """

    sigma: Tensor

    def __init__(self, kernel_size: int = 5, sigma: float = 3.0, **shared: Any) -> None:
        super().__init__(**shared)
        self.kernel_size = kernel_size
        self.register_buffer("sigma", torch.tensor(_positive(sigma)), persistent=False)
        gaussian_kernel_1d(kernel_size, self.sigma)  # refuses an even size now rather than in training

    def _difference(self, i: int, tap_BCHW: Tensor, complement_BCHW: Tensor) -> Tensor:
        # The filter is linear, so K*C - K*A = K*(C - A) takes half the time.
        return gaussian_blur(complement_BCHW - tap_BCHW, self.kernel_size, self.sigma)


class DynamicSpectrumLoss(_PairLoss):
    """DSL: as SL, with learnable standard deviations (paper Fig. 2).

    No other loss depends on them, so they are trained to lower this loss. Wider filters do that, because they remove
    more of the difference. In the official code they hardly change (learning rate 2e-7).

    Args:
        kernel_size: k, odd; the paper's mu.
        sigma: initial standard deviation of every filter, in positions of the feature map.
        weight, detach_taps: see `_PairLoss`.
        sharing: "pairwise": four standard deviations, one per pair; "per_feature": eight, one per feature.
        sigma_index: with "pairwise" sharing, which of the four sigmas filters a complement. "paper": that of its pair.
            "official": A_i is filtered with sigma_i but its partner C_{3-i} with sigma_{3-i} (official code,
            `VQGANFCM.forward`).

    Attributes:
        sigma_taps: [4]; entry i filters A_i.
        sigma_complements: [4]; entry j filters C_j; None with "pairwise" sharing, where `sigma_taps` is used for both.

    Raises:
        ValueError: even kernel size, sigma <= 0, unknown variants, or "official" indices without "pairwise" sharing.
    """

    sigma_complements: nn.Parameter | None

    def __init__(
        self,
        kernel_size: int = 9,
        sigma: float = 3.0,
        sharing: Sharing = "pairwise",
        sigma_index: SigmaIndex = "paper",
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if sharing not in ("pairwise", "per_feature"):
            raise ValueError(f"sharing got {sharing!r}; expected 'pairwise' or 'per_feature'")
        if sigma_index not in ("paper", "official"):
            raise ValueError(f"sigma_index got {sigma_index!r}; expected 'paper' or 'official'")
        if sharing == "per_feature" and sigma_index == "official":
            raise ValueError(
                "sigma_index 'official' exchanges shared sigmas; it needs sharing 'pairwise', not 'per_feature'"
            )
        initial = torch.full((PAIRS,), _positive(sigma))
        gaussian_kernel_1d(kernel_size, initial[0])  # refuses an even size now rather than in training
        self.kernel_size = kernel_size
        self.sharing = sharing
        self.sigma_index = sigma_index
        self.sigma_taps = nn.Parameter(initial)
        self.sigma_complements = nn.Parameter(initial.clone()) if sharing == "per_feature" else None

    def pair_sigmas(self, i: int) -> tuple[Tensor, Tensor]:
        """Standard deviations of the filters of A_i and C_{3-i}, scalars."""
        opposite = PAIRS - 1 - i
        if self.sigma_complements is not None:
            return self.sigma_taps[i], self.sigma_complements[opposite]
        return self.sigma_taps[i], self.sigma_taps[opposite if self.sigma_index == "official" else i]

    def _difference(self, i: int, tap_BCHW: Tensor, complement_BCHW: Tensor) -> Tensor:
        tap_sigma, complement_sigma = self.pair_sigmas(i)
        if self.sharing == "pairwise" and self.sigma_index == "paper":
            return gaussian_blur(complement_BCHW - tap_BCHW, self.kernel_size, tap_sigma)  # as in SpectrumLoss
        blurred_complement = gaussian_blur(complement_BCHW, self.kernel_size, complement_sigma)
        return blurred_complement - gaussian_blur(tap_BCHW, self.kernel_size, tap_sigma)


def _positive(sigma: float) -> float:
    if not sigma > 0:
        raise ValueError(f"sigma got {sigma}; expected a number > 0")
    return float(sigma)


class NoSpectrumLoss(nn.Module):
    """Always zero, for models without FCM and rows of Table 2 without a loss on features."""

    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(()), persistent=False)

    def forward(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
        """Any pairs -> 0, a scalar without a gradient."""
        return self.zero


_KINDS: dict[str, type[nn.Module]] = {
    "none": NoSpectrumLoss,
    "ffl": FeatureFrequencyLoss,
    "sl": SpectrumLoss,
    "dsl": DynamicSpectrumLoss,
}


def build_spectrum_loss(kind: str, **arguments: Any) -> nn.Module:
    """The loss on the four pairs of features: a module from pairs to a scalar, with the learnable sigmas as parameters.

    "none", "ffl" (`FeatureFrequencyLoss`), "sl" (`SpectrumLoss`) or "dsl" (`DynamicSpectrumLoss`), with the arguments
    of that class.

    Raises:
        ValueError: unknown kind, unknown arguments, or values that the class refuses.
    """
    if kind not in _KINDS:
        raise ValueError(f"spectrum.kind got {kind!r}; expected one of {list(_KINDS)}")
    try:
        return _KINDS[kind](**arguments)
    except TypeError as error:
        raise ValueError(f"spectrum got {sorted(arguments)} for kind {kind!r}: {error}") from error
