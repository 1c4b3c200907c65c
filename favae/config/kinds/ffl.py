"""Focal Frequency Loss (Jiang et al.): its two autoencoders, and the losses that it compares."""

from typing import Literal

from favae.config.base import left_to_constructor
from favae.config.kinds import NetworkSchema, TermSchema


class FflAutoencoderModelConfig(NetworkSchema):
    """Arguments of `favae.models.VanillaAutoencoder`: two linear maps, 6.3 million parameters at 64 pixels."""

    kind: Literal["ffl_ae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    hidden: int = left_to_constructor()


class FflVaeModelConfig(NetworkSchema):
    """Arguments of `favae.models.FflVAE`: strided convolutions down to 4x4 and back."""

    kind: Literal["ffl_vae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    latent: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    max_channels: int = left_to_constructor()


class FflConfig(TermSchema):
    """Focal frequency loss and the ablations of its paper.

    `representation` (Tables 7 and 8): `full`, `without_frequency` (pixels instead of frequencies), `without_phase`,
    `without_amplitude`, or `dct` (instead of the Fourier transform). `alpha: 0` is "without focal weighting".
    `spectra: batch_mean` compares spectra averaged over the batch, as for StyleGAN2.
    """

    kind: Literal["ffl"]
    weight: float = left_to_constructor()
    alpha: float = left_to_constructor()
    patch_factor: int = left_to_constructor()
    representation: Literal["full", "without_frequency", "without_phase", "without_amplitude", "dct"] = (
        left_to_constructor()
    )
    spectra: Literal["image", "batch_mean"] = left_to_constructor()


class SpectralRegularizationConfig(TermSchema):
    """Cross-entropy of azimuthally averaged power spectra (Durall et al., CVPR 2020), compared in Table 7 of the FFL paper."""

    kind: Literal["spectral_regularization"]
    weight: float = left_to_constructor()


class BatchFflConfig(TermSchema):
    """Arguments of `favae.losses.batch_spectrum.BatchFrequencyLoss`: average spectra of unpaired batches (StyleGAN2)."""

    kind: Literal["batch_ffl"]
    weight: float = left_to_constructor()
    alpha: float = left_to_constructor()
    spectra: Literal["batch_mean", "batch_power"] = left_to_constructor()
    across_ranks: Literal["local", "global"] = left_to_constructor()
