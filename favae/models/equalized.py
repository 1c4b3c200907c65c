"""Layers of StyleGAN2 with an equalised learning rate, and its modulated convolution.

Weights are drawn from N(0, 1) and multiplied by 1 / sqrt(fan_in) at each use, so that the relative step of Adam is the
same for all of them.

Tensor legend: B batch, I O channels in and out, H W pixels, W width of w.
"""

import math
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.fir import Fir

Modulation = Literal["scaled", "fused"]

_LEAK = 0.2
_EPS = 1e-8


def scaled_leaky_relu(x: Tensor) -> Tensor:
    """sqrt(2) * LeakyReLU(0.2), which approximately keeps the second moment of a normal input."""
    return F.leaky_relu(x, _LEAK) * math.sqrt(2.0)


class EqualizedLinear(nn.Module):
    """x W^T * lr_multiplier / sqrt(inputs) + b * lr_multiplier, W drawn from N(0, 1 / lr_multiplier^2).

    Raises:
        ValueError: `inputs` or `outputs` < 1, or `lr_multiplier` <= 0.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        if min(inputs, outputs) < 1 or lr_multiplier <= 0:
            raise ValueError(
                f"linear layer got {inputs} inputs, {outputs} outputs, lr_multiplier {lr_multiplier}; expected at least 1, "
                "at least 1, more than 0"
            )
        self.lr_multiplier = lr_multiplier
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        scale = self.lr_multiplier / math.sqrt(self.weight.shape[1])
        return F.linear(x, self.weight * scale, self.bias * self.lr_multiplier)


class EqualizedConv2d(nn.Module):
    """Convolution with W / sqrt(inputs * kernel^2), W drawn from N(0, 1), and a bias that is 0 at initialisation.

    Args:
        inputs: I.
        outputs: O.
        kernel: odd side of the kernel.
        down: blur by `Fir`, then stride 2: half the size. For a 1x1 kernel the filter itself has the stride.
        bias: whether the layer has a bias.

    Raises:
        ValueError: `inputs` or `outputs` < 1, or an even kernel.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, down: bool = False, bias: bool = True) -> None:
        super().__init__()
        _check_convolution(inputs, outputs, kernel)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = 1.0 / math.sqrt(inputs * kernel**2)
        self.stride, self.padding = 1, kernel // 2
        self.filter: nn.Module = nn.Identity()
        if down and kernel == 1:
            self.filter = Fir("down")
        elif down:
            self.stride, self.padding = 2, 0
            self.filter = Fir("blur", padding=1 + kernel // 2)

    def forward(self, x_BIHW: Tensor) -> Tensor:
        """[B, I, H, W] -> [B, O, H, W], or half of H and W."""
        return F.conv2d(self.filter(x_BIHW), self.weight * self.scale, self.bias, self.stride, self.padding)


class ModulatedConv2d(nn.Module):
    """Convolution whose kernel depends on each image's style (Karras et al. 2020, equations 1 and 3).

    s = A(w), w'_oi = s_i w_oi / sqrt(I k^2), and with demodulation w''_oi = w'_oi / sqrt(sum over i and kernel w'^2 + 1e-8).

    Args:
        inputs: I.
        outputs: O.
        kernel: odd side of the kernel.
        style: width of w.
        demodulate: see above; False in layers that output RGB.
        up: transposed convolution of stride 2, then `Fir`: twice the size.
        modulation: how the same values are computed. "scaled": inputs times s, a common convolution, outputs times the
            demodulation. "fused": a kernel per image, as a grouped convolution.

    Raises:
        ValueError: a number below 1, an even kernel, a kernel other than 3 with `up`, unknown `modulation`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style: int,
        demodulate: bool = True,
        up: bool = False,
        modulation: Modulation = "scaled",
    ) -> None:
        super().__init__()
        _check_convolution(inputs, outputs, kernel)
        if up and kernel != 3:
            raise ValueError(f"modulated convolution got kernel {kernel} with up; expected 3")
        if modulation not in get_args(Modulation):
            raise ValueError(f"modulated convolution got modulation {modulation!r}; expected 'scaled' or 'fused'")
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.to_style = EqualizedLinear(style, inputs, bias=1.0)
        self.scale = 1.0 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.up, self.modulation = demodulate, up, modulation
        self.blur = Fir("blur", padding=1, gain=4.0) if up else None

    def forward(self, x_BIHW: Tensor, w_BW: Tensor) -> Tensor:
        """Features [B,I,H,W] and one w per image -> [B,O,H,W], or twice H and W."""
        style_BI = self.to_style(w_BW)
        weight = self.weight * self.scale
        demodulation_BO = self._demodulation(style_BI, weight) if self.demodulate else None
        if self.modulation == "scaled":
            y = self._convolve(x_BIHW * style_BI[:, :, None, None], weight, groups=1)
            y = y if demodulation_BO is None else y * demodulation_BO[:, :, None, None]
        else:
            y = self._grouped(x_BIHW, style_BI, weight, demodulation_BO)
        return y if self.blur is None else self.blur(y)

    def _demodulation(self, style_BI: Tensor, weight: Tensor) -> Tensor:
        """1 / sqrt(sum (s w)^2 + 1e-8), [B, O]."""
        return torch.rsqrt(style_BI.square() @ weight.square().sum((2, 3)).T + _EPS)

    def _grouped(self, x_BIHW: Tensor, style_BI: Tensor, weight: Tensor, demodulation_BO: Tensor | None) -> Tensor:
        """One group per image."""
        batch, _, height, width = x_BIHW.shape
        kernels_BOIkk = weight * style_BI[:, None, :, None, None]
        if demodulation_BO is not None:
            kernels_BOIkk = kernels_BOIkk * demodulation_BO[:, :, None, None, None]
        if self.up:
            # Kernels of a transposed convolution have the input channels first, also within a group.
            kernels = kernels_BOIkk.transpose(1, 2).flatten(0, 1)
            y = F.conv_transpose2d(x_BIHW.reshape(1, -1, height, width), kernels, stride=2, groups=batch)
        else:
            y = self._convolve(x_BIHW.reshape(1, -1, height, width), kernels_BOIkk.flatten(0, 1), groups=batch)
        return y.view(batch, -1, *y.shape[2:])

    def _convolve(self, x: Tensor, weight: Tensor, groups: int) -> Tensor:
        if self.up:
            return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)


def _check_convolution(inputs: int, outputs: int, kernel: int) -> None:
    if min(inputs, outputs) < 1 or kernel < 1 or kernel % 2 == 0:
        raise ValueError(
            f"convolution got {inputs} inputs, {outputs} outputs, kernel {kernel}; expected at least 1, at least 1, odd"
        )
