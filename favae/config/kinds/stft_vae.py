"""STFT-VAE (Dalal): its network and its losses."""

from typing import Literal

from favae.config.base import left_to_constructor
from favae.config.kinds import NetworkSchema, TermSchema


class StftVaeModelConfig(NetworkSchema):
    """Arguments of `favae.models.StftVAE`: two convolutions, two latent dimensions, 69,989 parameters at 28 pixels."""

    kind: Literal["stft_vae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    latent: int = left_to_constructor()


class SsimConfig(TermSchema):
    """-SSIM with an 11x11 Gaussian window of sigma 1.5. The STFT-VAE paper prints +SSIM, which training would minimise."""

    kind: Literal["ssim"]
    weight: float = left_to_constructor()


class StftConfig(TermSchema):
    """Short-time Fourier loss: differences of amplitude and phase in windows of `window` pixels every `stride` pixels.

    `form: paper` is the 2-D transform with a Hann window. `form: official` is what the official code computes: a 1-D
    transform of the upper half of the rows, with a rectangular window. `taper: none` with a window of the image's size is
    the global Fourier transform that the paper compares with.
    """

    kind: Literal["stft"]
    weight: float = left_to_constructor()
    amplitude: float = left_to_constructor()
    phase: float = left_to_constructor()
    window: int = left_to_constructor()
    stride: int = left_to_constructor()
    form: Literal["paper", "official"] = left_to_constructor()
    taper: Literal["hann", "none"] = left_to_constructor()
