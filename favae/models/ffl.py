"""The two autoencoders of the focal frequency loss paper (Jiang et al., ICCV 2021).

Tensor legend: B batch, C channels, H W pixels, Z latent size.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from favae.models.bounds import SIDE, whole
from favae.models.latent import LatentModel, Posterior, VariationalModel

_INIT_STD = 0.02
_SMALLEST = 4  # side of the VAE's coarsest feature map


def _init_normal(root: nn.Module) -> None:
    """Draw weights from N(0, 0.02), those of batch normalisation from N(1, 0.02); biases are 0 (official code)."""
    for module in root.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.BatchNorm2d):
            nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), _INIT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class VanillaAutoencoder(LatentModel):
    """Linear, ReLU, linear, tanh over all pixels ("vanilla AE"; 6.304 M parameters at 64 pixels and 256 hidden units)."""

    kind = "ffl_ae"

    def __init__(self, image_size: int = 64, image_channels: int = 3, hidden: int = 256) -> None:
        super().__init__()
        for name, value, most in (("image_size", image_size, SIDE), ("image_channels", image_channels, 64)):
            whole(name, value, most)
        whole("hidden", hidden)
        self._config = {"image_size": image_size, "image_channels": image_channels, "hidden": hidden}
        self.shape = image_channels, image_size, image_size
        pixels = image_channels * image_size**2
        self.encoder, self.decoder = nn.Linear(pixels, hidden), nn.Linear(hidden, pixels)
        _init_normal(self)

    def forward(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Posterior | None]:
        """Reconstructions in [-1, 1] of images in [-1, 1]; the posterior is None. Raises ValueError for noise."""
        if noise_BZ is not None:
            raise ValueError("a plain autoencoder takes no noise; leave noise_BZ out")
        return self.decode(torch.relu(self.encoder(image_BCHW.flatten(1)))), None

    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images of hidden units [B,hidden]."""
        return torch.tanh(self.decoder(z_BZ)).view(-1, *self.shape).float()


class FflVAE(VariationalModel):
    """Blocks of conv4x4/2, batch norm and LeakyReLU(0.2) from the image to 4x4, linear maps to mean and log-variance, and back.

    Channels double from 64 to at most 512: four blocks at 64 pixels, six at 256. The decoder mirrors the encoder with
    transposed convolutions and ends in tanh.
    """

    kind = "ffl_vae"

    def __init__(
        self,
        image_size: int = 64,
        image_channels: int = 3,
        latent: int = 256,
        base_channels: int = 64,
        max_channels: int = 512,
    ) -> None:
        super().__init__()
        self._config = {
            "image_size": image_size,
            "image_channels": image_channels,
            "latent": latent,
            "base_channels": base_channels,
            "max_channels": max_channels,
        }
        whole("image_size", image_size, SIDE)
        whole("image_channels", image_channels, 64)
        for name, value in (("latent", latent), ("base_channels", base_channels), ("max_channels", max_channels)):
            whole(name, value)
        self.latent = latent
        blocks = (image_size // _SMALLEST).bit_length() - 1
        if _SMALLEST * 2**blocks != image_size or blocks < 1:
            nearest = max(2 * _SMALLEST, 1 << (image_size.bit_length() - 1))
            raise ValueError(
                f"image_size got {image_size}; expected a power of two, at least {2 * _SMALLEST}: "
                f"use {nearest} or {2 * nearest}"
            )
        widths = [min(base_channels * 2**i, max_channels) for i in range(blocks)]
        self.encoder = nn.Sequential(*(_down(a, b) for a, b in pairwise([image_channels, *widths])), nn.Flatten())
        self.deepest = widths[-1], _SMALLEST, _SMALLEST
        features = widths[-1] * _SMALLEST**2
        self.to_mean, self.to_log_variance = nn.Linear(features, latent), nn.Linear(features, latent)
        self.from_latent = nn.Linear(latent, features)
        self.decoder = nn.Sequential(
            *(_up(a, b) for a, b in pairwise(widths[::-1])), nn.ConvTranspose2d(widths[0], image_channels, 4, 2, 1)
        )
        _init_normal(self)

    def encode(self, image_BCHW: Tensor) -> Posterior:
        """q(z|x) of images in [-1, 1]."""
        features = self.encoder(image_BCHW)
        return Posterior(self.to_mean(features).float(), self.to_log_variance(features).float())

    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images in [-1, 1] of latents."""
        return torch.tanh(self.decoder(self.from_latent(z_BZ).view(-1, *self.deepest))).float()


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))
