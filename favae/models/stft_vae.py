"""The small VAE of the STFT-VAE paper: two convolutions down, two up, and a latent of two numbers.

Tensor legend: B batch, C channels, H W pixels, Z latent size.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from favae.models.bounds import SIDE, whole
from favae.models.latent import Posterior, VariationalModel

_FIRST, _SECOND = 32, 64  # channels of the two convolutions


def interleave(parities_BPHW: Tensor) -> Tensor:
    """[B,4*O,H,W], channels (row parity, column parity, output), to [B,O,2H,2W]: pixel (2i + p, 2j + q) is (p, q) of (i, j).

    Both tensors are channels-last in memory, so this copies long contiguous runs.
    """
    batch, channels, height, width = parities_BPHW.shape
    rows = parities_BPHW.permute(0, 2, 3, 1).reshape(batch, height, width, 2, channels // 2).transpose(2, 3)
    return rows.reshape(batch, 2 * height, 2 * width, channels // 4).permute(0, 3, 1, 2)


def _doubling_taps() -> Tensor:
    """0/1 matrix from taps of a 3x3 kernel to their places in the 2x2 kernels of the parities: [(row parity, row,
    column parity, column), 9]."""
    # An even position depends on the inputs i - 1 and i with taps 2 and 0, an odd one on the input i with tap 1.
    axis_kpt = torch.zeros(3, 2, 2)
    axis_kpt[2, 0, 0] = axis_kpt[0, 0, 1] = axis_kpt[1, 1, 1] = 1
    return torch.einsum("kpt,lqu->klptqu", axis_kpt, axis_kpt).reshape(9, 16).T.contiguous()


def _same_taps() -> Tensor:
    """The same with parities as input and output: [(parities out, parities in, 3x3 neighbours), 9]."""
    axis_kpqt = torch.zeros(3, 2, 2, 3)
    for parity in range(2):
        for tap in range(3):
            position = parity + 1 - tap  # relative to 2i
            axis_kpqt[tap, parity, position % 2, position // 2 + 1] = 1
    return torch.einsum("kpqt,lrsu->klprqstu", axis_kpqt, axis_kpqt).reshape(9, 144).T.contiguous()


def _place(taps: Tensor, weight_COkl: Tensor) -> Tensor:
    """The taps of a 3x3 kernel in the order of `taps`: [places, O, C] (input channels last, which is fastest for
    convolutions)."""
    inputs, outputs = weight_COkl.shape[:2]
    return (taps @ weight_COkl.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, outputs, inputs)


class DoublingConv(nn.Module):
    """TensorFlow's `Conv2DTranspose(3, strides=2, padding="same")` and ReLU: [B,C,H,W] to the parities [B,4*O,H,W].

    Written output[2i + k] += input[i] weight[k], k = 0, 1, 2, cut to 2H: an even row of the output depends on the
    inputs i - 1 and i, an odd one only on i. So each parity is a 2x2 convolution of the input. All four are computed as
    one convolution, which on a CPU is two to three times faster than the transposed convolution and its gradient.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("taps", _doubling_taps(), persistent=False)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """After `interleave`, the result is `relu(conv_transpose2d(x, weight, bias, stride=2))` without its last row
        and column."""
        inputs, outputs = self.weight.shape[:2]
        placed = _place(self.taps, self.weight).view(2, 2, 2, 2, outputs, inputs)
        weight = placed.permute(0, 2, 4, 1, 3, 5).reshape(4 * outputs, 2, 2, inputs).permute(0, 3, 1, 2)
        return F.relu_(F.conv2d(F.pad(x_BCHW, (1, 0, 1, 0)), weight, self.bias.repeat(4)))


class ParityConv(nn.Module):
    """TensorFlow's `Conv2DTranspose(3, padding="same")` from parities to parities: [B,4*C,H,W] to [B,4*O,H,W].

    The feature map of twice the size is never assembled, because reordering its pixels costs as much as the convolution.
    """

    taps: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("taps", _same_taps(), persistent=False)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x_BPHW: Tensor) -> Tensor:
        """After `interleave`, the result is `conv_transpose2d(interleave(x), weight, bias, padding=1)`."""
        inputs, outputs = self.weight.shape[:2]
        placed = _place(self.taps, self.weight).view(2, 2, 2, 2, 3, 3, outputs, inputs)
        weight = placed.permute(0, 1, 6, 4, 5, 2, 3, 7).reshape(4 * outputs, 3, 3, 4 * inputs).permute(0, 3, 1, 2)
        return F.conv2d(x_BPHW, weight, self.bias.repeat(4), padding=1)


class StftVAE(VariationalModel):
    """Encoder conv3x3/2 (32), conv3x3/2 (64), linear; decoder linear, two doubling convolutions (64, 32), conv3x3.

    Images are [B,1,H,W] in [-1, 1], H = W = `image_size`, a multiple of 4. Internally, pixels are in [0, 1] and the
    output has no activation, as in the official code, so outputs may be outside [-1, 1]. 69,989 parameters at 28 pixels
    and Z = 2. Weights are initialised as TensorFlow does: Glorot uniform, biases 0.

    Raises:
        ValueError: a size out of range, or an image size that cannot be halved twice.
    """

    kind = "stft_vae"

    def __init__(self, image_size: int = 28, image_channels: int = 1, latent: int = 2) -> None:
        super().__init__()
        whole("image_size", image_size, SIDE)
        whole("image_channels", image_channels, 64)
        whole("latent", latent)
        if image_size % 4 or image_size < 8:
            smaller = max(8, image_size // 4 * 4)
            raise ValueError(
                f"image_size got {image_size}; expected a multiple of 4, at least 8, because it is halved twice: "
                f"use {smaller} or {smaller + 4}"
            )
        self._config = {"image_size": image_size, "image_channels": image_channels, "latent": latent}
        self.latent, self.quarter = latent, image_size // 4
        features = _SECOND * ((((image_size - 1) // 2) - 1) // 2) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, _FIRST, 3, 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(_FIRST, _SECOND, 3, 2),
            nn.ReLU(inplace=True),
        )
        self.to_posterior = nn.Linear(features, 2 * latent)
        self.from_latent = nn.Linear(latent, _FIRST * self.quarter**2)
        self.decoder = nn.ModuleList([DoublingConv(_FIRST, _SECOND), DoublingConv(_SECOND, _FIRST)])
        self.to_image = ParityConv(_FIRST, image_channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def encode(self, image_BCHW: Tensor) -> Posterior:
        """q(z|x) of images in [-1, 1]."""
        features = self.encoder((image_BCHW + 1) / 2).permute(0, 2, 3, 1).flatten(1)  # channels last, as in TensorFlow
        mean, log_variance = self.to_posterior(features).float().chunk(2, dim=1)
        return Posterior(mean, log_variance)

    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images of latents: [B,C,H,W], nominally in [-1, 1], not clamped."""
        h = F.relu_(self.from_latent(z_BZ)).view(-1, self.quarter, self.quarter, _FIRST).permute(0, 3, 1, 2)
        first, second = self.decoder
        return 2 * interleave(self.to_image(second(interleave(first(h))))).float() - 1
