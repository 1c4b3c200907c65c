"""Residual discriminator of StyleGAN2 (Karras et al. 2020), with the standard deviation within groups of images as an
extra channel.

Tensor legend: B batch, G images of a group, M groups, C channels, H W pixels.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from favae.models.equalized import EqualizedConv2d, EqualizedLinear, scaled_leaky_relu
from favae.models.stylegan2 import channels_at, resolutions

_EPS = 1e-8


def minibatch_deviation(x_BCHW: Tensor, group: int) -> Tensor:
    """Append one channel: the standard deviation over a group of images, averaged over channels and pixels.

    Image i belongs to group i mod (B / group): groups are interleaved. Identical images give sqrt(1e-8). Groups are
    formed within a rank, so the groups, and hence the loss, depend on how a batch is distributed over ranks.

    Raises:
        ValueError: group < 1, or a batch larger than `group` that is not a multiple of it.
    """
    batch, channels, height, width = x_BCHW.shape
    size = min(group, batch)
    if size < 1 or batch % size:
        raise ValueError(
            f"minibatch deviation got {batch} images per rank in groups of {group}; expected a multiple of the "
            "group: change batch_size or the group"
        )
    grouped_GMCHW = x_BCHW.view(size, batch // size, channels, height, width)
    variance_MCHW = grouped_GMCHW.var(0, correction=0)
    deviation_M = (variance_MCHW + _EPS).sqrt().mean((1, 2, 3))
    return torch.cat([x_BCHW, deviation_M.repeat(size).view(batch, 1, 1, 1).expand(-1, 1, height, width)], 1)


class ResidualBlock(nn.Module):
    """(conv3x3, blurred conv3x3 of stride 2, plus blurred conv1x1 of stride 2) / sqrt(2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualizedConv2d(inputs, inputs, 3)
        self.second = EqualizedConv2d(inputs, outputs, 3, down=True)
        self.skip = EqualizedConv2d(inputs, outputs, 1, down=True, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H/2, W/2]."""
        y = scaled_leaky_relu(self.second(scaled_leaky_relu(self.first(x_BCHW))))
        return (y + self.skip(x_BCHW)) / math.sqrt(2.0)


class StyleDiscriminator(nn.Module):
    """Image -> logit. 28,864,129 parameters at 256 pixels with a base of 32768, 24,001,089 with 16384.

    Args:
        image_size: a power of two from 8.
        image_channels: C of the image.
        base_channels: see `channels_at`.
        max_channels: see `channels_at`.
        group: images per group, see `minibatch_deviation`; 4 or 8 in the reference configurations.

    Raises:
        ValueError: invalid size or number.
    """

    def __init__(
        self,
        image_size: int = 256,
        image_channels: int = 3,
        base_channels: int = 32768,
        max_channels: int = 512,
        group: int = 4,
    ) -> None:
        super().__init__()
        if image_channels < 1 or group < 1:
            raise ValueError(f"StyleGAN2 got image_channels {image_channels}, group {group}; expected at least 1 each")
        sizes = resolutions(image_size)[::-1]
        widths = [channels_at(size, base_channels, max_channels) for size in sizes]
        self.shape, self.group = (image_channels, image_size, image_size), group
        self.from_image = EqualizedConv2d(image_channels, widths[0], 1)
        self.blocks = nn.Sequential(*(ResidualBlock(a, b) for a, b in pairwise(widths)))
        self.last = EqualizedConv2d(widths[-1] + 1, widths[-1], 3)
        self.hidden = EqualizedLinear(widths[-1] * sizes[-1] ** 2, widths[-1])
        self.logit = EqualizedLinear(widths[-1], 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Images in about [-1, 1] -> logits [B, 1], large for real.

        Raises:
            ValueError: images of another shape, or a batch that is not a multiple of the group.
        """
        if x_BCHW.shape[1:] != self.shape:
            raise ValueError(
                f"StyleGAN2's discriminator got images of shape {tuple(x_BCHW.shape)}; expected [B, "
                f"{', '.join(map(str, self.shape))}]"
            )
        x = self.blocks(scaled_leaky_relu(self.from_image(x_BCHW)))
        x = scaled_leaky_relu(self.last(minibatch_deviation(x, self.group)))
        return self.logit(scaled_leaky_relu(self.hidden(x.flatten(1))))
