"""Short-time Fourier loss (Dalal, Deblurring Variational Autoencoders with Short-Time Fourier Transform).

L_freq = sum over windows and frequencies j of (phase |P_oj - P_ij| + amplitude |A_oj - A_ij|) W_j, where A and P are amplitude and
phase of the short-time Fourier transforms of output o and input i.

Tensor legend: B batch, C channels, L side of a window, K windows along an axis, U V kept frequencies along height and width;
R = 2 K U rows (real parts, then imaginary ones), Q = K V columns.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from favae.losses.bands import at_each_window
from favae.models.bounds import SIDE, not_negative, whole
from favae.models.precision import full_precision

# Added to real parts before the phase is computed (official code), so that the phase of an empty window is 0.
_EPSILON = 1e-6


def hann_window(length: int) -> Tensor:
    """(1 - cos(2 pi a / L)) / 2: [L] in [0, 1]. The square window is the outer product of this with itself."""
    n = torch.arange(length, dtype=torch.float64)
    return 0.5 * (1 - torch.cos(2 * math.pi * n / length))


def fourier_rows(length: int, kept: int) -> Tensor:
    """cos and -sin of the first frequencies of a discrete Fourier transform: [2, kept, L], exactly 0 at their zero
    crossings."""
    turns = torch.arange(kept)[:, None] * torch.arange(length) % length
    angle = 2 * math.pi * turns.double() / length
    rows = torch.stack([angle.cos(), -angle.sin()])
    return rows.where(rows.abs() > 1e-12, 0)  # so that a spectrum that is real by symmetry has no imaginary part


def radial_weights(length: int) -> Tensor:
    """Weights growing linearly with spatial frequency from 0 at DC to 1 at the corner, on the half spectrum: [L, L//2+1].

    The paper says only "linearly increasing"; the distance from DC is our interpretation. A column of the half spectrum
    that represents its mirror image too has twice the weight, so sums equal those over the full spectrum.
    """
    rows, columns = torch.fft.fftfreq(length, dtype=torch.float64), torch.fft.rfftfreq(length, dtype=torch.float64)
    radius = torch.hypot(rows[:, None], columns[None, :])
    twice = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64)
    twice[0] = 1
    if length % 2 == 0:
        twice[-1] = 1
    return (radius / radius.max() * twice).float()


def official_weights(length: int) -> Tensor:
    """r r^T with length // 2 values r from 0 to 1: row number times horizontal frequency (official code), [L//2, L//2]."""
    r = torch.linspace(0, 1, length // 2)
    return torch.outer(r, r)


def _polar(spectrum_BRQ: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Real and imaginary part, amplitude, phase in (-pi, pi], and the shifted real part, from which the phase was computed."""
    real, imag = spectrum_BRQ.chunk(2, dim=1)
    imag = imag + 0.0  # turns -0.0 into 0.0: the phase of -0.0 would be -pi instead of pi
    shifted = real + _EPSILON
    return real, imag, torch.hypot(real, imag), torch.atan2(imag, shifted), shifted


class _WeightedDifference(torch.autograd.Function):
    """sum of (amplitude |A_o - A_i| + phase |P_o - P_i|) W over spectra o and i, [B,R,Q]; differentiable in o.

    The gradient is computed in the forward pass; autograd through amplitude and phase would take several times as long on
    a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, ours: Tensor, theirs: Tensor, weights: Tensor, amplitude_factor: float, phase_factor: float
    ) -> Tensor:
        real, imag, amplitude, phase, shifted = _polar(ours)
        _, _, amplitude_of_theirs, phase_of_theirs, _ = _polar(theirs)
        by_amplitude, by_phase = amplitude - amplitude_of_theirs, phase.sub_(phase_of_theirs)
        along, around = (
            by_amplitude.sign().mul_(weights * amplitude_factor),
            by_phase.sign().mul_(weights * phase_factor),
        )
        total = torch.dot(by_amplitude.flatten(), along.flatten()) + torch.dot(by_phase.flatten(), around.flatten())
        # d A / d (re, im) = (re, im) / A;  d P / d (re, im) = (-im, re) / |o|^2. At o = 0 both are taken as 0.
        tiny = torch.finfo(amplitude.dtype).tiny
        along.div_(amplitude.clamp_(min=tiny))
        around.div_(shifted.square().addcmul_(imag, imag).clamp_(min=tiny))
        gradient = torch.empty_like(ours)
        by_real, by_imag = gradient.chunk(2, dim=1)
        torch.mul(along, real, out=by_real).addcmul_(around, imag, value=-1)
        torch.mul(along, imag, out=by_imag).addcmul_(around, shifted)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_total, None, None, None, None


class STFTLoss(nn.Module):
    """weight * mean over images of L_freq.

    `form="paper"`: 2-D transform of windows multiplied by a Hann window (`taper`), the whole spectrum, weights by
    distance from DC. `form="official"`: what the released code computes: a transform along rows only, without a Hann
    window. Of the result it uses the upper half of the rows and the lower half of the horizontal frequencies, weighted
    by both. In both forms phases are subtracted without wrapping, as in the paper and in the code.

    Args:
        weight: lambda_freq.
        amplitude: factor on differences of amplitude.
        phase: factor on differences of phase; the paper's lambda is phase / amplitude.
        window: side L in pixels; the image's side makes it a global Fourier transform.
        stride: pixels between windows.
        form: see above.
        taper: `hann`, or `none` for the plain Fourier transform; not used by the official form.

    Raises:
        ValueError: an argument out of range, or an unknown variant.
    """

    weights: Tensor
    rows: Tensor
    columns: Tensor

    kind = "stft"

    def __init__(
        self,
        weight: float = 1.0,
        amplitude: float = 0.1,
        phase: float = 0.9,
        window: int = 16,
        stride: int = 4,
        form: Literal["paper", "official"] = "paper",
        taper: Literal["hann", "none"] = "hann",
    ) -> None:
        super().__init__()
        if form not in ("paper", "official"):
            raise ValueError(f"form got {form!r}; expected 'paper' or 'official'")
        if taper not in ("hann", "none"):
            raise ValueError(f"taper got {taper!r}; expected 'hann' or 'none'")
        for name, factor in (("weight", weight), ("amplitude", amplitude), ("phase", phase)):
            not_negative(name, factor)
        whole("window", window, SIDE, least=4)
        whole("stride", stride, SIDE)
        self.weight, self.amplitude, self.phase = weight, amplitude, phase
        self.window, self.stride, self.form = window, stride, form
        edge = hann_window(window) if taper == "hann" and form == "paper" else torch.ones(window, dtype=torch.float64)
        half = window // 2
        if form == "paper":
            rows, columns, weights = (
                fourier_rows(window, window),
                fourier_rows(window, half + 1),
                radial_weights(window),
            )
        else:
            upper = torch.eye(window, dtype=torch.float64)[:half]
            rows = torch.stack([upper, torch.zeros_like(upper)])
            columns, weights = fourier_rows(window, half), official_weights(window)
        for name, buffer in {"rows": rows * edge, "columns": columns * edge, "weights": weights}.items():
            self.register_buffer(name, buffer.float(), persistent=False)
        self._matrices: dict[tuple[int, int, torch.device, torch.dtype], tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two [B,C,H,W] batches: a scalar >= 0, computed in fp32 (in fp64 after `.double()`).

        Raises:
            ValueError: different shapes, or images smaller than the window.
        """
        if pred.shape != target.shape or pred.ndim != 4 or min(pred.shape[-2:]) < self.window:
            raise ValueError(
                f"STFT loss with window {self.window} got shapes {tuple(pred.shape)} and {tuple(target.shape)}; expected the "
                f"same [B,C,H,W] twice, at least {self.window} pixels wide and high: use a smaller window or larger images"
            )
        weights_PQ = self._for_size(pred)[2]
        ours, theirs = self._transform(pred), self._transform(target.detach())
        total = _WeightedDifference.apply(ours, theirs, weights_PQ, self.amplitude, self.phase)
        return self.weight * total / len(pred)

    def spectrum(self, image: Tensor) -> Tensor:
        """Complex spectra of all windows of [B,C,H,W]: [B,C,K,K,U,V]."""
        kept_rows, kept_columns = self.rows.shape[1], self.columns.shape[1]
        parts = self._transform(image).unflatten(0, image.shape[:2]).unflatten(2, (2, -1, kept_rows))
        real, imag = parts.unflatten(-1, (-1, kept_columns)).transpose(-3, -2).unbind(2)
        return torch.complex(real.contiguous(), imag.contiguous())

    def _transform(self, image: Tensor) -> Tensor:
        """Spectra of all windows, [B*C,R,Q], as two matrix products, which for small images is faster than cutting
        windows and FFTs."""
        rows_RH, columns_WQ, _ = self._for_size(image)
        with full_precision(image.device):
            across = image.to(rows_RH.dtype).flatten(0, 1) @ columns_WQ  # [B*C,H,2Q]
            return rows_RH @ across.unflatten(2, (2, -1)).flatten(1, 2)  # complex times complex: [R,2H] @ [2H,Q]

    def _for_size(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """For images of this size: matrices [R,2H] and [W,2Q], and the weights of all windows [R/2,Q]; cached."""
        place = image.shape[-2], image.shape[-1], image.device, self.weights.dtype
        if place not in self._matrices:
            real_PH, imag_PH = at_each_window(self.rows, place[0], self.stride)
            times_real, times_imag = torch.cat([real_PH, imag_PH]), torch.cat([-imag_PH, real_PH])
            rows_RH = torch.stack([times_real, times_imag], dim=2).flatten(1)
            columns_WQ = at_each_window(self.columns, place[1], self.stride).flatten(0, 1).T.contiguous()
            windows = (len(real_PH) // self.rows.shape[1], columns_WQ.shape[1] // (2 * self.columns.shape[1]))
            self._matrices[place] = rows_RH, columns_WQ, self.weights.repeat(*windows)
        return self._matrices[place]
