"""Loss functions; they need torch and nothing else of this package."""

from favae.losses.adversarial import (
    DISCRIMINATOR_LOSSES,
    GENERATOR_LOSSES,
    adaptive_weight,
    hinge_discriminator_loss,
    hinge_generator_loss,
    non_saturating_generator_loss,
    vanilla_discriminator_loss,
)
from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.spectrum import (
    DynamicSpectrumLoss,
    FeatureFrequencyLoss,
    SpectrumLoss,
    build_spectrum_loss,
    gaussian_blur,
    gaussian_kernel_1d,
)

__all__ = [
    "DISCRIMINATOR_LOSSES",
    "GENERATOR_LOSSES",
    "DynamicSpectrumLoss",
    "FeatureFrequencyLoss",
    "FocalFrequencyLoss",
    "SpectrumLoss",
    "adaptive_weight",
    "build_spectrum_loss",
    "gaussian_blur",
    "gaussian_kernel_1d",
    "hinge_discriminator_loss",
    "hinge_generator_loss",
    "non_saturating_generator_loss",
    "vanilla_discriminator_loss",
]
