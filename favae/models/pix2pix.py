"""Networks of pix2pix (Isola et al. 2017): a U-Net and a patch discriminator of image pairs.

Tensor legend: B batch, A channels of the input, C channels of the output, H W pixels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from favae.models.discriminators import PatchDiscriminator
from favae.models.layers import check_spatial

UnetNorm = Literal["batch", "instance"]
DropoutLevels = Literal["pytorch", "lua"]
TestMode = Literal["train", "eval"]

_INIT_STD = 0.02
_SMALLEST = 32
_DROPOUT = 0.5


class UnetGenerator(nn.Module):
    """U-Net (Isola et al. 2017): U-Net-256 (54,413,955 parameters), U-Net-128 (41,828,995), or of another power of two.

    4x4 convolutions of stride 2 halve the image down to 1x1, and transposed ones double it again. The input of each
    transposed convolution except the innermost also has the features of its size from the way down (skip connections).
    There is no noise input: dropout is the only randomness. Weights are initialised from N(0, 0.02), those of batch
    norm from N(1, 0.02), biases as 0.

    Args:
        image_size: side of the images that are reduced to 1x1, a power of two from 32; larger images must be multiples of it.
        in_channels: A.
        out_channels: C.
        base_channels: channels after the first convolution; they double per level, up to eight times the base.
        norm: "batch", or "instance", which has no affine map, so that the convolutions have biases.
        dropout_levels: which transposed convolutions are followed by dropout. "pytorch", as in the authors' PyTorch
            code: at 256 pixels those with outputs of 4x4, 8x8 and 16x16 (one fewer per halving of `image_size`). "lua",
            as in their first code: those with outputs of 2x2, 4x4 and 8x8.

    Raises:
        ValueError: invalid size, number of channels or option.
    """

    def __init__(
        self,
        image_size: int = 256,
        in_channels: int = 3,
        out_channels: int = 3,
        base_channels: int = 64,
        norm: UnetNorm = "batch",
        dropout_levels: DropoutLevels = "pytorch",
    ) -> None:
        super().__init__()
        levels = image_size.bit_length() - 1
        if image_size < _SMALLEST or image_size != 2**levels:
            raise ValueError(f"U-Net got image_size {image_size}; expected a power of two, at least {_SMALLEST}")
        _check_channels("U-Net", in_channels, out_channels, base_channels)
        if norm not in get_args(UnetNorm):
            raise ValueError(f"U-Net got norm {norm!r}; expected 'batch' or 'instance'")
        if dropout_levels not in get_args(DropoutLevels):
            raise ValueError(f"U-Net got dropout_levels {dropout_levels!r}; expected 'pytorch' or 'lua'")
        self.image_size, self.in_channels = image_size, in_channels
        widths = [base_channels * min(2**level, 8) for level in range(levels)]
        dropped = range(1, levels - 4) if dropout_levels == "pytorch" else range(3)
        self.down = nn.ModuleList(
            _down(a, b, norm, first=level == 0, last=level == levels - 1)
            for level, (a, b) in enumerate(pairwise([in_channels, *widths]))
        )
        upward = widths[::-1]
        self.up = nn.ModuleList(
            _up(a if level == 0 else 2 * a, b, norm, dropout=level in dropped)
            for level, (a, b) in enumerate(pairwise(upward))
        )
        self.to_image = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * upward[-1], out_channels, 4, 2, 1), nn.Tanh())
        init_normal(self)

    def forward(self, x_BAHW: Tensor) -> Tensor:
        """Images [B,A,H,W] in [-1, 1] -> images [B,C,H,W] in (-1, 1).

        Raises:
            ValueError: another shape, or H or W that is not a multiple of `image_size`.
        """
        check_spatial(x_BAHW, self.in_channels, self.image_size, "U-Net")
        skips = []
        for down in self.down:
            x_BAHW = down(x_BAHW)
            skips.append(x_BAHW)
        y = self.up[0](skips.pop())
        for up in self.up[1:]:
            y = up(torch.cat([skips.pop(), y], 1))
        return self.to_image(torch.cat([skips.pop(), y], 1))


class PairDiscriminator(nn.Module):
    """PatchGAN on an input and its output, concatenated (70x70 patches; 2,768,705 parameters for two RGB images).

    Initialised like the generator.

    Args:
        in_channels: A.
        out_channels: C.
        base_channels: channels after the first convolution.
        layers: convolutions of stride 2.

    Raises:
        ValueError: a number below 1.
    """

    def __init__(self, in_channels: int = 3, out_channels: int = 3, base_channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        _check_channels("pair discriminator", in_channels, out_channels, base_channels)
        self.patches = PatchDiscriminator(in_channels + out_channels, base_channels, layers)
        init_normal(self)

    def forward(self, input_BAHW: Tensor, output_BCHW: Tensor) -> Tensor:
        """Input and real or generated output, in [-1, 1] -> logits [B,1,h,w], large for real; 30x30 of 256x256."""
        return self.patches(torch.cat([input_BAHW, output_BCHW], 1))


@contextmanager
def in_test_mode(generator: nn.Module, mode: TestMode) -> Iterator[None]:
    """Context manager: the mode in which a generator is tested. Afterwards its mode and running statistics are as before.

    "train" (as released): statistics of the tested batch, which must be one image, and dropout, so two passes differ
    unless the random state is set. "eval": running statistics, no dropout.

    Raises:
        ValueError: unknown mode.
    """
    if mode not in get_args(TestMode):
        raise ValueError(f"test_mode got {mode!r}; expected 'train' or 'eval'")
    modes = {module: module.training for module in generator.modules()}
    buffers = [(buffer, buffer.clone()) for buffer in generator.buffers()]
    generator.train(mode == "train")
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def init_normal(root: nn.Module) -> None:
    """Draw weights of convolutions from N(0, 0.02) and gains of batch norm from N(1, 0.02); biases are 0 (as released)."""
    for module in root.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d):
            nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), _INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _check_channels(owner: str, in_channels: int, out_channels: int, base_channels: int) -> None:
    for name, value in (("in", in_channels), ("out", out_channels), ("base", base_channels)):
        if value < 1:
            raise ValueError(f"{owner} got {name}_channels {value}; expected at least 1")


def _norm(channels: int, norm: UnetNorm) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels)


def _down(inputs: int, outputs: int, norm: UnetNorm, first: bool, last: bool) -> nn.Sequential:
    """LeakyReLU (except on the image), convolution, norm (except in the first level and in the innermost, whose 1x1 has
    no variance)."""
    convolution = nn.Conv2d(inputs, outputs, 4, 2, 1, bias=norm == "instance")
    layers = [convolution] if first else [nn.LeakyReLU(0.2), convolution]
    return nn.Sequential(*layers) if first or last else nn.Sequential(*layers, _norm(outputs, norm))


def _up(inputs: int, outputs: int, norm: UnetNorm, dropout: bool) -> nn.Sequential:
    layers = [
        nn.ReLU(),
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=norm == "instance"),
        _norm(outputs, norm),
    ]
    return nn.Sequential(*layers, nn.Dropout(_DROPOUT)) if dropout else nn.Sequential(*layers)
