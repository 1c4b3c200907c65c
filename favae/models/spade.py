"""Networks of SPADE (Park et al. 2019): a generator with the label map as input at every scale, and a multi-scale
discriminator.

Tensor legend: B batch, K channels of the label map, C channels, H W pixels.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as add_spectral_norm

from favae.models.sync_batch_norm import SyncBatchNorm2d

SpectralNorm = Literal["released", "all", "none"]
SpectralInit = Literal["default", "xavier"]
SpadeNorm = Literal["batch", "sync_batch", "instance"]
Upsamplings = Literal["normal", "more"]

_GAIN = 0.02
_LEAK = 0.2
_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda channels: nn.BatchNorm2d(channels, affine=False),
    "sync_batch": lambda channels: SyncBatchNorm2d(channels, affine=False),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=False),
}


class Spade(nn.Module):
    """norm(x) * (1 + gamma(map)) + beta(map), with a norm without affine parameters (Park et al. 2019, equation 1)."""

    def __init__(self, channels: int, map_channels: int, hidden: int, norm: SpadeNorm) -> None:
        super().__init__()
        self.norm = _NORMS[norm](channels)
        self.shared = nn.Sequential(nn.Conv2d(map_channels, hidden, 3, padding=1), nn.ReLU())
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor, map_BKHW: Tensor) -> Tensor:
        """Features [B,C,H,W] and the label map at their size -> [B,C,H,W]."""
        seen = self.shared(map_BKHW)
        return self.norm(x_BCHW) * (1.0 + self.gamma(seen)) + self.beta(seen)


class SpadeBlock(nn.Module):
    """skip(x) + branch(x): the branch is twice (Spade, LeakyReLU(0.2), conv3x3). If channels change, the skip is Spade
    and conv1x1."""

    def __init__(self, inputs: int, outputs: int, map_channels: int, hidden: int, norm: SpadeNorm) -> None:
        super().__init__()
        middle = min(inputs, outputs)
        self.norm_0 = Spade(inputs, map_channels, hidden, norm)
        self.conv_0 = nn.Conv2d(inputs, middle, 3, padding=1)
        self.norm_1 = Spade(middle, map_channels, hidden, norm)
        self.conv_1 = nn.Conv2d(middle, outputs, 3, padding=1)
        self.learned_skip = inputs != outputs
        if self.learned_skip:
            self.norm_s = Spade(inputs, map_channels, hidden, norm)
            self.conv_s = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x_BCHW: Tensor, map_BKHW: Tensor) -> Tensor:
        """Features [B,in,h,w] and the label map at any size -> [B,out,h,w]."""
        seen = F.interpolate(map_BKHW, size=x_BCHW.shape[2:], mode="nearest")
        skip = self.conv_s(self.norm_s(x_BCHW, seen)) if self.learned_skip else x_BCHW
        y = self.conv_0(F.leaky_relu(self.norm_0(x_BCHW, seen), _LEAK))
        return skip + self.conv_1(F.leaky_relu(self.norm_1(y, seen), _LEAK))

    def convolutions(self) -> list[nn.Module]:
        """The convolutions that have spectral norm as released."""
        return [self.conv_0, self.conv_1, *([self.conv_s] if self.learned_skip else [])]


class SpadeGenerator(nn.Module):
    """Label map -> image (Park et al. 2019). 93,048,003 parameters for Cityscapes (36 channels, "more"), 96,492,483 for
    ADE20K (151, "normal").

    A convolution is applied to the map at 1/32 or 1/64 of its size. Seven blocks (16, 16, 16, 8, 4, 2, 1 times the base
    channels) with nearest-neighbour up-sampling follow, and a convolution to the image.

    Args:
        map_channels: K.
        out_channels: channels of the image.
        base_channels: channels of the last block.
        hidden: channels of the hidden layer from the map to gamma and beta.
        upsamplings: "normal": five up-samplings; "more": six, with one between the two middle blocks.
        norm: "batch" over the batch of the rank, "sync_batch" over those of all ranks, or "instance".
        spectral_norm: "released": the 18 convolutions of the blocks, as in the official code; "all": every convolution,
            as the paper says; "none".
        spectral_init: "default" keeps PyTorch's initialisation for the weights that have spectral norm as released, as
            the released code did on a GPU; "xavier" draws them like the others, N(0, 0.02 sqrt(2 / (fan_in +
            fan_out))). Spectral norm divides by their scale, so the choice only affects the effective step size.

    Raises:
        ValueError: a number of channels below 1, or an unknown choice.
    """

    def __init__(
        self,
        map_channels: int,
        out_channels: int = 3,
        base_channels: int = 64,
        hidden: int = 128,
        upsamplings: Upsamplings = "normal",
        norm: SpadeNorm = "batch",
        spectral_norm: SpectralNorm = "released",
        spectral_init: SpectralInit = "default",
    ) -> None:
        super().__init__()
        sizes = {"map_channels": map_channels, "out_channels": out_channels, "base_channels": base_channels}
        _check_sizes("SPADE generator", {**sizes, "hidden": hidden})
        _check_choice("SPADE generator", "upsamplings", upsamplings, Upsamplings)
        _check_choice("SPADE generator", "norm", norm, SpadeNorm)
        _check_spectral("SPADE generator", spectral_norm, spectral_init)
        self.map_channels, self.norm = map_channels, norm
        self.factor = 32 if upsamplings == "normal" else 64
        widths = [factor * base_channels for factor in (16, 16, 16, 16, 8, 4, 2, 1)]
        doubled = (True, upsamplings == "more", True, True, True, True)
        self.doubled = (False, *doubled)  # numbers of the blocks with up-sampling before them; 5 or 6 in total
        self.start = nn.Conv2d(map_channels, widths[0], 3, padding=1)
        blocks = [SpadeBlock(a, b, map_channels, hidden, norm) for a, b in pairwise(widths)]
        self.blocks = nn.ModuleList(blocks)
        self.to_image = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        released = [convolution for block in blocks for convolution in block.convolutions()]
        _initialise(self, released, spectral_norm, spectral_init)

    def forward(self, map_BKHW: Tensor) -> Tensor:
        """Label map, see `favae.models.label_maps`, H and W multiples of 32 or 64 -> images [B,C,H,W] in (-1, 1).

        Raises:
            ValueError: another shape.
        """
        shape = tuple(map_BKHW.shape)
        if len(shape) != 4 or shape[1] != self.map_channels or shape[2] % self.factor or shape[3] % self.factor:
            raise ValueError(
                f"SPADE generator got a map of shape {shape}; expected [B, {self.map_channels}, H, W], H and W multiples "
                f"of {self.factor}: resize, or set map_channels to the classes (and edges) of the data set"
            )
        start = shape[2] // self.factor, shape[3] // self.factor
        if self.norm == "instance" and start == (1, 1):
            raise ValueError(
                f"SPADE generator got a map of {shape[2]}x{shape[3]} with instance norm, which needs more than one value at "
                f"1/{self.factor} of its size: use larger maps or batch norm"
            )
        x = self.start(F.interpolate(map_BKHW, size=start, mode="nearest"))
        for block, doubled in zip(self.blocks, self.doubled, strict=True):
            x = block(F.interpolate(x, scale_factor=2.0, mode="nearest") if doubled else x, map_BKHW)
        return torch.tanh(self.to_image(F.leaky_relu(x, _LEAK)))


class ScaleDiscriminator(nn.Module):
    """One scale: conv4x4 of stride 2, 2, 2, 1 and 1 with padding 2, instance norm on the middle three."""

    def __init__(self, in_channels: int, base_channels: int, layers: int) -> None:
        super().__init__()
        widths = [base_channels * min(2**layer, 8) for layer in range(layers)]
        first = nn.Sequential(nn.Conv2d(in_channels, widths[0], 4, 2, 2), nn.LeakyReLU(_LEAK))
        middle = [
            nn.Sequential(
                nn.Conv2d(inputs, outputs, 4, 1 if number == layers - 2 else 2, 2, bias=False),
                nn.InstanceNorm2d(outputs),
                nn.LeakyReLU(_LEAK),
            )
            for number, (inputs, outputs) in enumerate(pairwise(widths))
        ]
        self.layers = nn.ModuleList([first, *middle, nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2))])

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        """Outputs of all layers; the last one is the logits [B,1,h,w]."""
        outputs = []
        for layer in self.layers:
            x_BCHW = layer(x_BCHW)
            outputs.append(x_BCHW)
        return outputs

    def middle_convolutions(self) -> list[nn.Module]:
        """The convolutions that have spectral norm as released."""
        return [layer.get_submodule("0") for layer in list(self.layers)[1:-1]]


class MultiscaleDiscriminator(nn.Module):
    """The same network at several scales of the concatenated map and image; 5,601,410 parameters for Cityscapes (two scales).

    Args:
        map_channels: K.
        image_channels: C.
        base_channels: channels after the first convolution; they double, up to eight times the base.
        scales: number of scales; each has half the size of the previous one.
        layers: convolutions before the logits, at least 2.
        spectral_norm: "released": the middle convolutions of each scale (6 of 10); "all"; "none".
        spectral_init: see `SpadeGenerator`.

    Raises:
        ValueError: a number below 1 (`layers`: 2), or an unknown choice.
    """

    def __init__(
        self,
        map_channels: int,
        image_channels: int = 3,
        base_channels: int = 64,
        scales: int = 2,
        layers: int = 4,
        spectral_norm: SpectralNorm = "released",
        spectral_init: SpectralInit = "default",
    ) -> None:
        super().__init__()
        sizes = {"map_channels": map_channels, "image_channels": image_channels, "base_channels": base_channels}
        _check_sizes("SPADE discriminator", {**sizes, "scales": scales})
        if layers < 2:
            raise ValueError(f"SPADE discriminator got layers {layers}; expected at least 2")
        _check_spectral("SPADE discriminator", spectral_norm, spectral_init)
        channels = map_channels + image_channels
        of_scales = [ScaleDiscriminator(channels, base_channels, layers) for _ in range(scales)]
        self.scales = nn.ModuleList(of_scales)
        released = [convolution for scale in of_scales for convolution in scale.middle_convolutions()]
        _initialise(self, released, spectral_norm, spectral_init)

    def forward(self, map_BKHW: Tensor, image_BCHW: Tensor) -> list[list[Tensor]]:
        """Map, and images in [-1, 1] of the same size -> outputs of every layer, per scale from fine to coarse."""
        x = torch.cat([map_BKHW, image_BCHW], 1)
        found = []
        for number, scale in enumerate(self.scales):
            if number:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            found.append(scale(x))
        return found

    def both(
        self, map_BKHW: Tensor, fake_BCHW: Tensor, real_BCHW: Tensor
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Outputs for generated and for real images, from one pass as released, so that both use the same power iteration."""
        found = self(torch.cat([map_BKHW, map_BKHW]), torch.cat([fake_BCHW, real_BCHW]))
        halves = [[output.chunk(2) for output in scale] for scale in found]
        return [[fake for fake, _ in scale] for scale in halves], [[real for _, real in scale] for scale in halves]


def _initialise(root: nn.Module, released: list[nn.Module], norm: SpectralNorm, init: SpectralInit) -> None:
    """Xavier normal with gain 0.02 and biases 0, except for weights that have spectral norm as released; then add
    spectral norm."""
    convolutions = [module for module in root.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions:
        if init == "xavier" or not any(convolution is other for other in released):
            nn.init.xavier_normal_(convolution.weight, _GAIN)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
    if norm != "none":
        for normed in released if norm == "released" else convolutions:
            add_spectral_norm(normed)


def _check_sizes(owner: str, sizes: dict[str, int]) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{owner} got {name} {value}; expected at least 1")


def _check_choice(owner: str, name: str, value: str, known: object) -> None:
    if value not in get_args(known):
        raise ValueError(f"{owner} got {name} {value!r}; expected one of {', '.join(get_args(known))}")


def _check_spectral(owner: str, norm: str, init: str) -> None:
    _check_choice(owner, "spectral_norm", norm, SpectralNorm)
    _check_choice(owner, "spectral_init", init, SpectralInit)
