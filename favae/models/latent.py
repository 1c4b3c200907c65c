"""What the autoencoders of the companion papers share: a Gaussian posterior, or none, between two halves of one network.

Tensor legend: B batch, C channels, H W pixels, Z latent size.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn


class Posterior(NamedTuple):
    """q(z|x) = N(mean, exp(log_variance)), both [B,Z] fp32."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise_BZ: Tensor) -> Tensor:
        """mean + sigma * noise, [B,Z]."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise_BZ

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, 1)) of each image, in nats: [B]."""
        return -0.5 * (1 + self.log_variance - self.log_variance.exp() - self.mean.square()).sum(1)


class LatentModel(nn.Module, ABC):
    """An autoencoder without codebook. `latent` is Z of a variational one; a plain one has 0 and no posterior."""

    latent: int = 0
    config: dict[str, Any]  # constructor arguments

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build from constructor arguments. Raises TypeError for unknown ones."""
        return cls(**config)

    @abstractmethod
    def forward(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Posterior | None]:
        """Reconstructions of images in [-1, 1] through z = mean + sigma * noise (z = mean without noise), and q(z|x)."""

    @abstractmethod
    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images [B,C,H,W] of latents, fp32 on the scale of [-1, 1]."""

    def reconstruct(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> Tensor:
        """Reconstructions alone."""
        return self(image_BCHW, noise_BZ)[0]


class VariationalModel(LatentModel):
    """An autoencoder that encodes an image to a Gaussian."""

    @abstractmethod
    def encode(self, image_BCHW: Tensor) -> Posterior:
        """q(z|x) of images in [-1, 1]."""

    def forward(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Posterior | None]:
        """As `LatentModel.forward`."""
        posterior = self.encode(image_BCHW)
        z_BZ = posterior.mean if noise_BZ is None else posterior.sample(noise_BZ)
        return self.decode(z_BZ), posterior
