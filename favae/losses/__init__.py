"""Loss functions; they import only torch and `favae.models`."""

from favae.losses.adversarial import AdversarialLoss, adaptive_weight, build_adversarial_loss
from favae.losses.focal_variants import FocalVariantLoss
from favae.losses.frequency import FocalFrequencyLoss
from favae.losses.spectral_regularization import SpectralRegularization
from favae.losses.spectrum import (
    DynamicSpectrumLoss,
    FeatureFrequencyLoss,
    SpectrumLoss,
    build_spectrum_loss,
    gaussian_blur,
    gaussian_kernel_1d,
)
from favae.losses.ssim import SSIMLoss
from favae.losses.stft import STFTLoss
from favae.losses.terms import build_term

__all__ = [
    "AdversarialLoss",
    "DynamicSpectrumLoss",
    "FeatureFrequencyLoss",
    "FocalFrequencyLoss",
    "FocalVariantLoss",
    "SSIMLoss",
    "STFTLoss",
    "SpectralRegularization",
    "SpectrumLoss",
    "adaptive_weight",
    "build_adversarial_loss",
    "build_spectrum_loss",
    "build_term",
    "gaussian_blur",
    "gaussian_kernel_1d",
]
