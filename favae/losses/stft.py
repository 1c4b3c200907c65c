"""Short-time Fourier loss (Dalal, Deblurring Variational Autoencoders with Short-Time Fourier Transform).

L_freq = sum over windows and frequencies j of (phase |P_oj - P_ij| + amplitude |A_oj - A_ij|) W_j, where A and P are amplitude and
phase of the short-time Fourier transforms of output o and input i.

Tensor legend: B batch, C channels, L side of a window, K windows along an axis, U V kept frequencies.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Added to real parts before the phase is taken (official code), so that empty windows have one: 0.
_EPSILON = 1e-6


def hann_window(length: int) -> Tensor:
    """1/4 (1 - cos(2 pi a / L)) (1 - cos(2 pi b / L)): [L,L] in [0, 1]."""
    n = torch.arange(length, dtype=torch.float64)
    hann = 0.5 * (1 - torch.cos(2 * math.pi * n / length))
    return torch.outer(hann, hann).float()


def radial_weights(length: int) -> Tensor:
    """Weights growing linearly with spatial frequency from 0 at DC to 1 at the corner, on the half spectrum: [L, L//2+1].

    The paper says "linearly increasing" and no more; the distance from DC is our reading. A column of the half spectrum
    counts twice where it also stands for its mirror image, so sums are those over the full spectrum.
    """
    rows, columns = torch.fft.fftfreq(length, dtype=torch.float64), torch.fft.rfftfreq(length, dtype=torch.float64)
    radius = torch.hypot(rows[:, None], columns[None, :])
    twice = torch.full((length // 2 + 1,), 2.0, dtype=torch.float64)
    twice[0] = 1
    if length % 2 == 0:
        twice[-1] = 1
    return (radius / radius.max() * twice).float()


def official_weights(length: int) -> Tensor:
    """r r^T with r from 0 to 1 in length // 2 steps: row times horizontal frequency (official code), [L//2, L//2]."""
    r = torch.linspace(0, 1, length // 2)
    return torch.outer(r, r)


def _polar(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Real and imaginary part, amplitude, phase in (-pi, pi], and the shifted real part that the phase was taken of."""
    # Both contiguous, which is five times as fast; + 0.0 makes 0 of -0.0, whose phase would be -pi instead of pi.
    real, imag = spectrum.real.contiguous(), spectrum.imag + 0.0
    shifted = real + _EPSILON
    return real, imag, torch.hypot(real, imag), torch.atan2(imag, shifted), shifted


class _WeightedDifference(torch.autograd.Function):
    """sum of (amplitude |A_o - A_i| + phase |P_o - P_i|) W over complex spectra o and i; differentiable in o.

    The gradient is made in the forward pass from the numbers at hand; complex `abs` and `angle` and their gradients
    would take five times as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, ours: Tensor, theirs: Tensor, weights: Tensor, amplitude_factor: float, phase_factor: float
    ) -> Tensor:
        real, imag, amplitude, phase, shifted = _polar(ours)
        _, _, amplitude_of_theirs, phase_of_theirs, _ = _polar(theirs)
        by_amplitude, by_phase = amplitude - amplitude_of_theirs, phase.sub_(phase_of_theirs)
        total = (by_amplitude.abs().mul_(amplitude_factor) + by_phase.abs().mul_(phase_factor)).mul_(weights).sum()
        # d A / d (re, im) = (re, im) / A;  d P / d (re, im) = (-im, re) / |o|^2. At o = 0 both are taken as 0.
        tiny = torch.finfo(amplitude.dtype).tiny
        along = by_amplitude.sign_().mul_(weights * amplitude_factor).div_(amplitude.clamp_(min=tiny))
        around = by_phase.sign_().mul_(weights * phase_factor)
        around.div_((shifted.square() + imag.square()).clamp_(min=tiny))
        ctx.save_for_backward(torch.complex(along * real - around * imag, along * imag + around * shifted))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_total: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_total, None, None, None, None


class STFTLoss(nn.Module):
    """loss_weight * mean over images of L_freq.

    `form="paper"`: 2-D transform of windows under a Hann window (`taper`), the whole spectrum, weights by distance from DC.
    `form="official"`: what the released code computes. Its transform runs along rows only, the Hann window is switched off,
    and of the result it keeps the upper half of the rows and the lower half of the horizontal frequencies, weighted
    by both. Phases are subtracted without wrapping in either form, as printed and as released.

    Args:
        loss_weight: lambda_freq.
        amplitude: factor on differences of amplitude.
        phase: factor on differences of phase; the paper's lambda is phase / amplitude.
        window: side L in pixels; the image's side makes it a global Fourier transform.
        stride: pixels between windows.
        form: see above.
        taper: `hann`, or `none` for the plain Fourier transform; the official form has none.
    """

    weights: Tensor
    shape: Tensor

    def __init__(
        self,
        loss_weight: float = 1.0,
        amplitude: float = 0.1,
        phase: float = 0.9,
        window: int = 16,
        stride: int = 4,
        form: Literal["paper", "official"] = "paper",
        taper: Literal["hann", "none"] = "hann",
    ) -> None:
        super().__init__()
        if form not in ("paper", "official"):
            raise ValueError(f"form must be 'paper' or 'official', got {form!r}")
        self.loss_weight, self.amplitude, self.phase = loss_weight, amplitude, phase
        self.window, self.stride, self.form = window, stride, form
        weights = radial_weights(window) if form == "paper" else official_weights(window)
        self.register_buffer("weights", weights, persistent=False)
        shape = hann_window(window) if taper == "hann" else torch.ones(window, window)
        self.register_buffer("shape", shape, persistent=False)

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Loss of two [B,C,H,W] batches: a scalar >= 0, computed in fp32.

        Raises:
            ValueError: shapes that differ, or images smaller than the window.
        """
        if pred.shape != target.shape or pred.ndim != 4 or min(pred.shape[-2:]) < self.window:
            raise ValueError(
                f"STFT loss got shapes {tuple(pred.shape)} and {tuple(target.shape)}; expected the same [B,C,H,W] twice, "
                f"at least {self.window} pixels wide and high"
            )
        ours, theirs = self.spectrum(pred), self.spectrum(target.detach())
        total = _WeightedDifference.apply(ours, theirs, self.weights, self.amplitude, self.phase)
        return self.loss_weight * total / len(pred)

    def spectrum(self, image: Tensor) -> Tensor:
        """Complex spectra of all windows of [B,C,H,W]: [B,C,K,K,U,V]."""
        windows = image.float().unfold(-2, self.window, self.stride).unfold(-2, self.window, self.stride)
        if self.form == "paper":
            return torch.fft.rfft2(windows * self.shape)
        half = self.window // 2
        return torch.fft.fft(windows[..., :half, :])[..., :half]
