"""Generator of StyleGAN2 (Karras et al. 2020), in which RGB images of all resolutions are added ("skip" generator).

Tensor legend: B batch, Z width of z, W width of w, L layers that take a w, C channels, H W pixels.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from favae.models.equalized import EqualizedLinear, ModulatedConv2d, Modulation, scaled_leaky_relu
from favae.models.fir import Fir
from favae.models.ranks import mean_over_ranks

Noise = Literal["random", "fixed", "none"]

_START = 4
_MAPPING_LR = 0.01
_W_AVERAGE_DECAY = 0.995
_EPS = 1e-8


def resolutions(image_size: int) -> list[int]:
    """4, 8, ... to `image_size`.

    Raises:
        ValueError: not a power of two, or below 8.
    """
    levels = image_size.bit_length() - 1
    if image_size < 2 * _START or image_size != 2**levels:
        raise ValueError(f"StyleGAN2 got image_size {image_size}; expected a power of two, at least {2 * _START}")
    return [2**level for level in range(2, levels + 1)]


def channels_at(resolution: int, base_channels: int, max_channels: int) -> int:
    """min(base / resolution, max): a base of 32768 is configuration F, 16384 is E and "paper256".

    Raises:
        ValueError: `base_channels` is too small to leave a channel at this resolution, or `max_channels` < 1.
    """
    if base_channels < resolution or max_channels < 1:
        raise ValueError(
            f"StyleGAN2 got base_channels {base_channels}, max_channels {max_channels} at {resolution} pixels; expected "
            f"base_channels at least {resolution}, max_channels at least 1"
        )
    return min(base_channels // resolution, max_channels)


class Mapping(nn.Module):
    """z -> w: z divided by its root mean square, then fully connected layers with 1/100 of the learning rate.

    Attributes:
        average: moving average of w for truncation; a buffer, so that it is saved in checkpoints.
    """

    average: Tensor

    def __init__(self, z: int, w: int, layers: int) -> None:
        super().__init__()
        if min(z, w, layers) < 1:
            raise ValueError(f"mapping got z {z}, w {w}, layers {layers}; expected at least 1 each")
        self.layers = nn.ModuleList(
            EqualizedLinear(z if layer == 0 else w, w, lr_multiplier=_MAPPING_LR) for layer in range(layers)
        )
        self.register_buffer("average", torch.zeros(w))

    def forward(self, z_BZ: Tensor) -> Tensor:
        """[B, Z] of any scale -> [B, W]."""
        x = z_BZ * torch.rsqrt(z_BZ.square().mean(1, keepdim=True) + _EPS)
        for layer in self.layers:
            x = scaled_leaky_relu(layer(x))
        return x

    @torch.no_grad()
    def follow(self, w_BW: Tensor) -> None:
        """Update the average with the mean of these w over all ranks: average <- 0.995 average + 0.005 mean."""
        self.average.lerp_(mean_over_ranks(w_BW.mean(0)).to(self.average), 1.0 - _W_AVERAGE_DECAY)

    def truncated(self, w: Tensor, psi: float) -> Tensor:
        """average + psi (w - average), w of shape [..., W]; psi 1 changes nothing."""
        return w if psi == 1.0 else self.average.lerp(w, psi)


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, + strength * noise (one value per pixel for all channels), bias, scaled LeakyReLU."""

    noise_map: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, w: int, up: bool, modulation: Modulation) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 3, w, up=up, modulation=modulation)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_map", torch.randn(size, size))

    def forward(self, x_BCHW: Tensor, w_BW: Tensor, noise: Noise) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        y = self.convolution(x_BCHW, w_BW)
        if noise == "random":
            y = y + self.noise_strength * torch.randn(y.shape[0], 1, *y.shape[2:], device=y.device, dtype=y.dtype)
        elif noise == "fixed":
            y = y + self.noise_strength * self.noise_map
        return scaled_leaky_relu(y + self.bias[:, None, None])


class ToImage(nn.Module):
    """Modulated 1x1 convolution without demodulation, and a bias."""

    def __init__(self, inputs: int, outputs: int, w: int, modulation: Modulation) -> None:
        super().__init__()
        self.convolution = ModulatedConv2d(inputs, outputs, 1, w, demodulate=False, modulation=modulation)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x_BCHW: Tensor, w_BW: Tensor) -> Tensor:
        """[B, C, H, W] -> this resolution's part of the image, [B, 3, H, W]."""
        return self.convolution(x_BCHW, w_BW) + self.bias[:, None, None]


class Synthesis(nn.Module):
    """w of every layer -> image: a learned 4x4 constant, two convolutions per resolution, and the sum of the images of
    all resolutions."""

    def __init__(
        self, image_size: int, image_channels: int, w: int, base: int, maximum: int, modulation: Modulation
    ) -> None:
        super().__init__()
        sizes = resolutions(image_size)
        widths = [channels_at(size, base, maximum) for size in sizes]
        self.constant = nn.Parameter(torch.randn(1, widths[0], _START, _START))
        self.convolutions = nn.ModuleList([StyledConv(widths[0], widths[0], _START, w, False, modulation)])
        self.to_image = nn.ModuleList([ToImage(widths[0], image_channels, w, modulation)])
        for size, before, width in zip(sizes[1:], widths[:-1], widths[1:], strict=True):
            self.convolutions.append(StyledConv(before, width, size, w, True, modulation))
            self.convolutions.append(StyledConv(width, width, size, w, False, modulation))
            self.to_image.append(ToImage(width, image_channels, w, modulation))
        self.up = Fir("up")
        self.layers = 2 * len(sizes)

    def forward(self, w_BLW: Tensor, noise: Noise = "random") -> Tensor:
        """One w per layer -> images [B,C,H,W], unbounded, about [-1, 1].

        The RGB layer of a resolution uses the same w as the first convolution of the next resolution.
        """
        x = self.convolutions[0](self.constant.expand(w_BLW.shape[0], -1, -1, -1), w_BLW[:, 0], noise)
        image = self.to_image[0](x, w_BLW[:, 1])
        for level in range(1, len(self.to_image)):
            first = 2 * level - 1
            x = self.convolutions[first](x, w_BLW[:, first], noise)
            x = self.convolutions[first + 1](x, w_BLW[:, first + 1], noise)
            image = self.up(image) + self.to_image[level](x, w_BLW[:, first + 2])
        return image


class StyleGenerator(nn.Module):
    """z -> image (Karras et al. 2020). 30,034,338 parameters at 256 pixels with a base of 32768, 24,767,458 with 16384.

    Args:
        image_size: a power of two from 8.
        image_channels: C of the image.
        z: width of z.
        w: width of w.
        mapping_layers: fully connected layers from z to w.
        base_channels: see `channels_at`.
        max_channels: see `channels_at`.
        modulation: see `ModulatedConv2d`.

    Raises:
        ValueError: invalid size, number or option.
    """

    def __init__(
        self,
        image_size: int = 256,
        image_channels: int = 3,
        z: int = 512,
        w: int = 512,
        mapping_layers: int = 8,
        base_channels: int = 32768,
        max_channels: int = 512,
        modulation: Modulation = "scaled",
    ) -> None:
        super().__init__()
        if image_channels < 1:
            raise ValueError(f"StyleGAN2 got image_channels {image_channels}; expected at least 1")
        self.z = z
        self.mapping = Mapping(z, w, mapping_layers)
        self.synthesis = Synthesis(image_size, image_channels, w, base_channels, max_channels, modulation)
        self.layers = self.synthesis.layers

    def styles(self, z_BZ: Tensor, other_BZ: Tensor | None = None, cut: int | None = None, psi: float = 1.0) -> Tensor:
        """One w per layer, [B,L,W], computed from `z_BZ`, and from layer `cut` on from `other_BZ` (style mixing).

        Args:
            z_BZ: latents from N(0, 1).
            other_BZ: second latents, or None.
            cut: from 1 to L - 1, together with `other_BZ`.
            psi: truncation towards the average w; 1 for none.

        Raises:
            ValueError: only one of `other_BZ` and `cut` is given, or `cut` is out of range.
        """
        if (other_BZ is None) != (cut is None) or (cut is not None and not 1 <= cut < self.layers):
            raise ValueError(
                f"style mixing got cut {cut} {'without' if other_BZ is None else 'with'} second latents; expected both, the "
                f"cut from 1 to {self.layers - 1}, or neither"
            )
        w_BLW = self.mapping(z_BZ)[:, None].expand(-1, self.layers, -1)
        if other_BZ is not None and cut is not None:
            other_BLW = self.mapping(other_BZ)[:, None].expand(-1, self.layers - cut, -1)
            w_BLW = torch.cat([w_BLW[:, :cut], other_BLW], 1)
        return self.mapping.truncated(w_BLW, psi)

    def forward(self, z_BZ: Tensor, psi: float = 1.0, noise: Noise = "random") -> Tensor:
        """Images [B,C,H,W], unbounded, about [-1, 1].

        Args:
            z_BZ: latents from N(0, 1).
            psi: truncation; metrics are measured with 1.
            noise: "random" draws noise maps; "fixed" uses those of the model; "none".

        Raises:
            ValueError: latents of the wrong width, or unknown `noise`.
        """
        if z_BZ.ndim != 2 or z_BZ.shape[1] != self.z:
            raise ValueError(f"StyleGAN2 got latents of shape {tuple(z_BZ.shape)}; expected [B, {self.z}]")
        if noise not in get_args(Noise):
            raise ValueError(f"StyleGAN2 got noise {noise!r}; expected one of {', '.join(get_args(Noise))}")
        return self.synthesis(self.styles(z_BZ, psi=psi), noise)


def average_decay(images: int, half_life_kimg: float) -> float:
    """Decay per step of the generator's moving average, 0.5^(images / (1000 half_life)); 10 kimg in F, 20 in "paper256".

    Args:
        images: images per step, over all ranks.
        half_life_kimg: thousands of images after which a weight counts half.

    Raises:
        ValueError: either is not positive.
    """
    if images < 1 or half_life_kimg <= 0:
        raise ValueError(
            f"moving average got {images} images, half-life {half_life_kimg} kimg; expected at least 1, more than 0"
        )
    return math.pow(0.5, images / (1000.0 * half_life_kimg))
