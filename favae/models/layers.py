"""Blocks shared by the encoder, the decoder and the frequency complement modules.

Tensor legend: B batch, C channels, H W spatial size, N = H*W tokens.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Recompute = Literal["none", "last_level"]

Norm = Callable[
    [int], nn.Module
]  # channels -> normalisation layer, so that one choice of groups serves a whole network


def group_norm(channels: int, groups: int, eps: float, name: str = "norm_groups") -> nn.GroupNorm:
    """Group normalisation over `channels` (Wu & He 2018), with its affine map; `name` is the argument that gave `groups`.

    Raises:
        ValueError: `groups` does not divide `channels`.
    """
    if groups < 1 or channels % groups:
        raise ValueError(
            f"{name} got {groups} for a layer of {channels} channels; groups must divide the channels: "
            f"use for example {math.gcd(channels, max(groups, 1))}"
        )
    return nn.GroupNorm(groups, channels, eps=eps)


def conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    """3x3 convolution that keeps the spatial size, [B, in, H, W] -> [B, out, H, W]."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def conv_branch(in_channels: int, out_channels: int, norm: Norm, dropout: float) -> nn.Sequential:
    """norm, SiLU, conv3x3, norm, SiLU, dropout, conv3x3: the residual branch of a block, without its skip."""
    return nn.Sequential(
        norm(in_channels),
        nn.SiLU(),
        conv3x3(in_channels, out_channels),
        norm(out_channels),
        nn.SiLU(),
        nn.Dropout(dropout),
        conv3x3(out_channels, out_channels),
    )


class ResBlock(nn.Module):
    """Residual block of VQ-GAN (Esser et al. 2021): skip(x) + branch(x), with a 1x1 conv as the skip if channels change."""

    def __init__(self, in_channels: int, out_channels: int, norm: Norm, dropout: float = 0.0) -> None:
        super().__init__()
        self.branch = conv_branch(in_channels, out_channels, norm, dropout)
        self.skip = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        return self.skip(x_BCHW) + self.branch(x_BCHW)


class SelfAttention(nn.Module):
    """One-head self-attention over the H*W positions of a normalised feature map, added to its input.

    Same parameters and initialisation as `torch.nn.MultiheadAttention` with one head (official code, `AttnBlock`):
    query, key and value in one Xavier-initialised matrix with bias, then an output matrix with bias.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        tokens_BNC = self.norm(x_BCHW).flatten(2).transpose(1, 2)
        q_B1NC, k_B1NC, v_B1NC = self.qkv(tokens_BNC).unsqueeze(1).chunk(3, dim=-1)
        mixed_BNC = F.scaled_dot_product_attention(q_B1NC, k_B1NC, v_B1NC).squeeze(1)
        return x_BCHW + self.out(mixed_BNC).transpose(1, 2).reshape(x_BCHW.shape)


class Downsample(nn.Module):
    """Halves H and W: one zero row below and one zero column right, then a 3x3 convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, stride=2)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H/2, W/2], for even H and W."""
        return self.conv(F.pad(x_BCHW, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles H and W: nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, 2H, 2W]."""
        return self.conv(F.interpolate(x_BCHW, scale_factor=2.0, mode="nearest"))


def level_blocks(
    in_channels: int, out_channels: int, count: int, attention: bool, norm: Norm, dropout: float
) -> list[nn.Module]:
    """`count` residual blocks of one level, each followed by attention if `attention` is set."""
    layers: list[nn.Module] = []
    for block in range(count):
        layers.append(ResBlock(in_channels if block == 0 else out_channels, out_channels, norm, dropout))
        if attention:
            layers.append(SelfAttention(out_channels, norm))
    return layers


def run_layer(layer: nn.Module, x_BCHW: Tensor, recompute: Recompute) -> Any:
    """layer(x). With "last_level" only x is saved for the backward pass, which recomputes the layer."""
    if recompute == "last_level" and torch.is_grad_enabled():
        return checkpoint(layer, x_BCHW, use_reentrant=False)
    return layer(x_BCHW)


class Levels(nn.Sequential):
    """The layers of all levels, one after the other.

    Args:
        layers: in order.
        finest: positions of the layers at the image's resolution.

    Attributes:
        recompute: see `run_layer`; applies to the finest layers.
    """

    recompute: Recompute = "none"

    def __init__(self, *layers: nn.Module, finest: range) -> None:
        super().__init__(*layers)
        self.finest = finest

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C', H', W']."""
        for number, layer in enumerate(self):
            x_BCHW = run_layer(layer, x_BCHW, self.recompute if number in self.finest else "none")
        return x_BCHW


def middle(channels: int, norm: Norm, dropout: float) -> nn.Sequential:
    """Residual block, attention, residual block at the bottleneck; always with attention, independent of
    `attention_resolutions`."""
    return nn.Sequential(
        ResBlock(channels, channels, norm, dropout),
        SelfAttention(channels, norm),
        ResBlock(channels, channels, norm, dropout),
    )


def check_spatial(x_BCHW: Tensor, channels: int, factor: int, name: str) -> None:
    """Check that a tensor is [B, channels, H, W] with H and W divisible by `factor`.

    Raises:
        ValueError: it is not; the message has the shape found and the shape expected.
    """
    shape = tuple(x_BCHW.shape)
    if len(shape) != 4 or shape[1] != channels or shape[2] % factor or shape[3] % factor or not x_BCHW.numel():
        multiple = f", H and W multiples of {factor}" if factor > 1 else ""
        raise ValueError(f"{name} got shape {shape}; expected [B, {channels}, H, W]{multiple}: resize or crop first")
