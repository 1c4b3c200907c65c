"""Focal frequency loss (Jiang et al., ICCV 2021, arXiv 2012.12821).

Tensor legend: N batch, P patches, C channels, H W patch size, V = W // 2 + 1 columns of the half spectrum, M planes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from favae.models.bounds import not_negative, whole

# Numbers that a CPU processes at a time: 2^18 numbers and their spectrum fit into the cache. A GPU processes all planes
# at once (`_at_once`).
_CPU_BLOCK = 1 << 18


@dataclass(frozen=True)
class _Weighting:
    """How the weights are computed from the spectrum: |D|^alpha, optionally its logarithm, divided by its maximum."""

    alpha: float
    log_matrix: bool
    batch_matrix: bool

    def __call__(self, power_MHV: Tensor) -> Tensor:
        """Powers |D|^2 of half spectra -> weights in [0, 1] of the same shape."""
        return self._scaled(power_MHV.sqrt() if self.alpha == 1.0 else power_MHV.pow(self.alpha / 2))

    def of_amplitude(self, amplitude_MHV: Tensor) -> Tensor:
        """The same from amplitudes |D|, whose memory is used."""
        return self._scaled(amplitude_MHV if self.alpha == 1.0 else amplitude_MHV.pow_(self.alpha))

    def _scaled(self, w_MHV: Tensor) -> Tensor:
        """Optionally the logarithm, divided by the maximum. The amplitude spectrum of a real signal is symmetric, so the
        half spectrum contains the maximum of the full one."""
        if self.log_matrix:
            w_MHV = w_MHV.log1p_()
        largest = w_MHV.amax() if self.batch_matrix else w_MHV.amax((-2, -1), keepdim=True)
        # For equal images the weights are 0 instead of 0/0.
        return w_MHV.div_(largest.clamp_(min=torch.finfo(w_MHV.dtype).tiny))


class _FocalDistance(torch.autograd.Function):
    """mean over planes and frequencies of w |F(pred - target)|^2, F orthonormal, w detached.

    Without `target`, `pred` is the difference. Only half spectra are computed: those of real planes are Hermitian. The
    gradient 2/count * F^-1(w F(pred - target)) is computed in the forward pass, block by block, and only it is saved
    for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, pred_MHW: Tensor, target_MHW: Tensor | None, matrix_MHV: Tensor | None, weighting: _Weighting
    ) -> Tensor:
        dtype = _at_least_fp32(pred_MHW, target_MHW)
        ctx.count = pred_MHW.numel()
        ctx.dtypes = pred_MHW.dtype, None if target_MHW is None else target_MHW.dtype
        if pred_MHW.device.type != "cpu":
            diff_MHW = pred_MHW.to(dtype) if target_MHW is None else pred_MHW.to(dtype) - target_MHW
            at_once, weighted_MHW = _at_once(diff_MHW, matrix_MHV, weighting)
            ctx.save_for_backward(weighted_MHW if any(ctx.needs_input_grad) else None)
            return at_once / ctx.count
        grad_MHW = torch.empty_like(pred_MHW, dtype=dtype) if any(ctx.needs_input_grad) else None
        total = torch.zeros((), dtype=dtype, device=pred_MHW.device)
        for block in _blocks(pred_MHW, whole=matrix_MHV is None and weighting.batch_matrix):
            diff_MHW = pred_MHW[block].to(dtype)
            if target_MHW is not None:
                diff_MHW = diff_MHW - target_MHW[block]
            spectrum_MHV = torch.fft.rfft2(diff_MHW, norm="ortho")
            power_MHV = spectrum_MHV.real.square().addcmul_(spectrum_MHV.imag, spectrum_MHV.imag)
            w_MHV = weighting(power_MHV) if matrix_MHV is None else matrix_MHV[block]
            total += _full_sum(power_MHV.mul_(w_MHV), pred_MHW.shape[-1])
            if grad_MHW is not None:
                weighted_MHV = spectrum_MHV.mul_(w_MHV)
                grad_MHW[block] = torch.fft.irfft2(weighted_MHV, s=pred_MHW.shape[-2:], norm="ortho")
        ctx.save_for_backward(grad_MHW)
        return total / ctx.count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (grad_MHW,) = ctx.saved_tensors
        of_pred = grad_MHW * (grad_loss * (2.0 / ctx.count))
        of_target = -of_pred.to(ctx.dtypes[1]) if ctx.needs_input_grad[1] else None
        return of_pred.to(ctx.dtypes[0]) if ctx.needs_input_grad[0] else None, of_target, None, None


def _at_least_fp32(pred: Tensor, target: Tensor | None) -> torch.dtype:
    """The wider of the two dtypes, at least fp32."""
    dtype = torch.promote_types(pred.dtype, torch.float32)
    return dtype if target is None else torch.promote_types(dtype, target.dtype)


def _at_once(diff_MHW: Tensor, matrix_MHV: Tensor | None, weighting: _Weighting) -> tuple[Tensor, Tensor]:
    """Sum of w |F(d)|^2 over planes and frequencies, and F^-1(w F(d)), in a third of the operations, each of which a GPU
    has to be told.

    By Parseval's theorem the sum is the product of d and F^-1(w F(d)).
    """
    spectrum_MHV = torch.fft.rfft2(diff_MHW, norm="ortho")
    w_MHV = weighting.of_amplitude(spectrum_MHV.abs()) if matrix_MHV is None else matrix_MHV
    weighted_MHW = torch.fft.irfft2(spectrum_MHV.mul_(w_MHV), s=diff_MHW.shape[-2:], norm="ortho")
    return torch.dot(diff_MHW.reshape(-1), weighted_MHW.reshape(-1)), weighted_MHW


def _blocks(planes_MHW: Tensor, whole: bool) -> Iterator[slice]:
    """Slices of consecutive planes that are processed together."""
    planes, height, width = planes_MHW.shape
    step = planes if whole else max(1, _CPU_BLOCK // (height * width))
    return (slice(start, start + step) for start in range(0, planes, step))


def _full_sum(values_MHV: Tensor, width: int) -> Tensor:
    """Sum over the full spectrum, from symmetric values on its half.

    Each column counts twice, for itself and its mirror image, except the first and, for even widths, the last.
    """
    total = 2.0 * values_MHV.sum() - values_MHV[..., 0].sum()
    return total - values_MHV[..., -1].sum() if width % 2 == 0 else total


def _half_of_matrix(matrix: Tensor, shape: torch.Size) -> Tensor:
    """Convert given weights, broadcastable to [N, P, C, H, W], to weights [M, H, V] of half spectra with the same weighted sum.

    |D|^2 is symmetric under (u, v) -> (-u, -v), so weights can be replaced by the mean of themselves and their mirror image.
    """
    full_NPCHW = matrix.broadcast_to(shape)
    mirrored_NPCHW = full_NPCHW.flip((-2, -1)).roll((1, 1), (-2, -1))
    half_NPCHV = (0.5 * (full_NPCHW + mirrored_NPCHW))[..., : shape[-1] // 2 + 1]
    return half_NPCHV.flatten(0, 2)


class FocalFrequencyLoss(nn.Module):
    """Focal frequency loss: weight * mean of w |F(pred) - F(target)|^2 over samples, channels and frequencies.

    F is the orthonormal 2-D DFT of a channel, w = |F(pred) - F(target)|^alpha divided by its maximum in that sample and
    channel, detached (paper, equations 8 to 10; values and gradients are those of the authors' package
    focal-frequency-loss 0.3.0). Because F preserves energy (Parseval), 0 <= loss <= weight * MSE.

    Args:
        weight: factor on the result.
        alpha: exponent of the weights, >= 0; 1 in the paper, 0 gives the mean squared error.
        patch_factor: the image is cut into patch_factor x patch_factor patches, each with its own spectrum (Table 10).
        ave_spectrum: compare spectra averaged over the batch, for unpaired batches.
        log_matrix: log(1 + w) before the division by the maximum.
        batch_matrix: one maximum for the whole batch.

    Raises:
        ValueError: weight < 0, alpha < 0 or patch_factor < 1.
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float = 1.0,
        patch_factor: int = 1,
        ave_spectrum: bool = False,
        log_matrix: bool = False,
        batch_matrix: bool = False,
    ) -> None:
        super().__init__()
        not_negative("weight", weight)
        not_negative("alpha", alpha)
        whole("patch_factor", patch_factor)
        self.weight = weight
        self.patch_factor = patch_factor
        self.ave_spectrum = ave_spectrum
        self._weighting = _Weighting(alpha, log_matrix, batch_matrix)

    def forward(self, pred: Tensor, target: Tensor, matrix: Tensor | None = None) -> Tensor:
        """Loss of `pred` against `target`, both [N, C, H, W] (batches may differ with `ave_spectrum`).

        `matrix`, if given, is used as w: in [0, 1], broadcastable to [N, P, C, H, W] with the zero frequency first.
        16-bit inputs are compared in fp32. Returns a scalar, fp32 or fp64. Differentiable once.

        Raises:
            ValueError: different shapes, or images that cannot be cut into patches.
        """
        first = 1 if self.ave_spectrum else 0
        if pred.ndim != 4 or pred.shape[first:] != target.shape[first:] or target.ndim != 4:
            raise ValueError(
                f"FFL got shapes {tuple(pred.shape)} and {tuple(target.shape)}; expected the same [N, C, H, W] twice"
            )
        if self.ave_spectrum:
            dtype = _at_least_fp32(pred, target)
            pred, target = (batch.mean(0, keepdim=True, dtype=dtype) for batch in (pred, target))
        return self.weight * self._distance(pred, target, matrix)

    def of_difference(self, diff_NCHW: Tensor, matrix: Tensor | None = None) -> Tensor:
        """Unweighted loss of the difference pred - target, [N, C, H, W]; the DFT is linear."""
        return self._distance(diff_NCHW, None, matrix)

    def _distance(self, pred_NCHW: Tensor, target_NCHW: Tensor | None, matrix: Tensor | None) -> Tensor:
        pred_NPCHW = self._patches(pred_NCHW)
        target_MHW = None if target_NCHW is None else self._patches(target_NCHW).flatten(0, 2)
        half = None
        if matrix is not None:
            matrix = matrix.detach().to(pred_NPCHW.device, _at_least_fp32(pred_NCHW, target_NCHW))
            half = _half_of_matrix(matrix, pred_NPCHW.shape)
        return _FocalDistance.apply(pred_NPCHW.flatten(0, 2), target_MHW, half, self._weighting)

    def _patches(self, x_NCHW: Tensor) -> Tensor:
        """[N, C, p*H, p*W] -> [N, p*p, C, H, W], contiguous, patches row by row."""
        p = self.patch_factor
        n, c, height, width = x_NCHW.shape
        if height % p or width % p:
            raise ValueError(
                f"patch_factor got {p} for images of {height}x{width}; it must divide height and width: "
                f"use for example {math.gcd(p, height, width)}"
            )
        x_NCpHpW = x_NCHW.reshape(n, c, p, height // p, p, width // p)
        return x_NCpHpW.permute(0, 2, 4, 1, 3, 5).flatten(1, 2).contiguous()
