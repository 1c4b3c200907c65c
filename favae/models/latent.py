"""The interface of all autoencoders, and the base classes of those with a Gaussian posterior or with none.

Tensor legend: B batch, C channels, H W pixels, Z latent size.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

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
        """KL(q(z|x) || N(0, 1)) per image, in nats: [B]."""
        return -0.5 * (1 + self.log_variance - self.log_variance.exp() - self.mean.square()).sum(1)


class Autoencoder(nn.Module, ABC):
    """Images to reconstructions. The constructor arguments are the keys of a `model:` block, except `kind`.

    Attributes:
        kind: name of the network in parameter files and saved models.
        latent: Z of a variational autoencoder, whose prior is N(0, 1); 0 for others.
        codes: size K of the codebook; None without one.
    """

    kind: ClassVar[str]
    latent: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Build from constructor arguments.

        Raises:
            ValueError: unknown arguments, or values that the constructor refuses.
        """
        known = set(inspect.signature(cls).parameters)
        if unknown := sorted(set(config) - known):
            raise ValueError(f"model got unknown keys {unknown}; expected keys among {sorted(known)}")
        return cls(**config)

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """All constructor arguments as plain values: `from_config(model.config)` has the same architecture."""

    @property
    def codes(self) -> int | None:
        """K of the codebook, None without one."""
        return None

    @abstractmethod
    def decode(self, z_BZ: Tensor, /) -> Any:
        """Decode a latent to images; see the subclass."""

    @abstractmethod
    def reconstruct_with_codes(
        self, image_BCHW: Tensor, noise_BZ: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Images in [-1, 1] -> reconstructions [B,C,H,W], and indices [B,h,w] if the model has a codebook, else None.

        With `noise_BZ` from N(0, 1), the latent of a variational autoencoder is sampled; without it, it is the mean.
        """

    def reconstruct(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> Tensor:
        """Reconstructions only."""
        return self.reconstruct_with_codes(image_BCHW, noise_BZ)[0]


class LatentModel(Autoencoder):
    """An autoencoder without codebook. `latent` is Z if it is variational; a plain one has `latent` 0 and no posterior."""

    _config: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """As `Autoencoder.config`."""
        return dict(self._config)

    @abstractmethod
    def forward(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, Posterior | None]:
        """Reconstructions of images in [-1, 1] through z = mean + sigma * noise (z = mean without noise), and q(z|x)."""

    @abstractmethod
    def decode(self, z_BZ: Tensor) -> Tensor:
        """Images [B,C,H,W] of latents, fp32, nominally in [-1, 1]."""

    def reconstruct_with_codes(self, image_BCHW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor, None]:
        """As `Autoencoder.reconstruct_with_codes`."""
        return self(image_BCHW, noise_BZ)[0], None


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
