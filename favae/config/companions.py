"""Parameters of the autoencoders of the companion papers (STFT-VAE, Focal Frequency Loss): one network, a sum of terms.

L = sum of terms + kl * KL(q(z|x) || N(0, 1)). Which terms there are is all that distinguishes the rows of those papers' tables.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema
from favae.config.training import TrainingConfig

Rate = Annotated[float, Field(gt=0)]


class StftVaeModelConfig(Schema):
    """`favae.models.StftVAE`: two convolutions, two latent dimensions, 69,989 parameters at 28 pixels."""

    kind: Literal["stft_vae"]
    image_size: Positive = 28
    image_channels: Literal[1] = 1
    latent: Positive = 2

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.image_size % 4 or self.image_size < 8:
            raise ValueError(f"image_size {self.image_size} must be a multiple of 4, at least 8: it is halved twice")
        return self


class FflAutoencoderModelConfig(Schema):
    """`favae.models.VanillaAutoencoder`: two linear maps, 6.3 million parameters at 64 pixels."""

    kind: Literal["ffl_ae"]
    image_size: Positive = 64
    image_channels: Positive = 3
    hidden: Positive = 256


class FflVaeModelConfig(Schema):
    """`favae.models.FflVAE`: strided convolutions down to 4x4 and back."""

    kind: Literal["ffl_vae"]
    image_size: Positive = 64
    image_channels: Positive = 3
    latent: Positive = 256
    base_channels: Positive = 64
    max_channels: Positive = 512

    @model_validator(mode="after")
    def _power_of_two(self) -> Self:
        if self.image_size < 8 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size {self.image_size} must be a power of two, at least 8: it is halved down to 4")
        return self


LatentModelConfig = Annotated[
    StftVaeModelConfig | FflAutoencoderModelConfig | FflVaeModelConfig, Field(discriminator="kind")
]


class MseConfig(Schema):
    """Mean squared error."""

    kind: Literal["mse"]
    weight: NonNegative = 1.0


class L1Config(Schema):
    """Mean absolute error."""

    kind: Literal["l1"]
    weight: NonNegative = 1.0


class SsimConfig(Schema):
    """-SSIM with an 11x11 Gaussian window of sigma 1.5. The STFT-VAE paper prints +SSIM, which would be maximised."""

    kind: Literal["ssim"]
    weight: NonNegative = 1.0


class StftConfig(Schema):
    """Short-time Fourier loss: differences of amplitude and phase in windows of `window` pixels every `stride` pixels.

    `form: paper` is the 2-D transform under a Hann window; `official` what the released code computes: a 1-D transform of
    rows, a rectangular window, the upper half of the rows. `taper: none` with a window of the image's size is the global
    Fourier transform that the paper compares with.
    """

    kind: Literal["stft"]
    weight: NonNegative
    amplitude: NonNegative
    phase: NonNegative
    window: Annotated[int, Field(ge=4)]
    stride: Positive
    form: Literal["paper", "official"] = "paper"
    taper: Literal["hann", "none"] = "hann"


class FflConfig(Schema):
    """Focal frequency loss, and what its paper takes out of it or puts in its place.

    `representation` (Tables 7 and 8): `full`; `without_frequency` (pixels instead of frequencies), `without_phase`,
    `without_amplitude`, `dct` instead of the Fourier transform. `alpha: 0` is "without focal weighting". `spectra:
    batch_mean` compares spectra averaged over the batch, as for StyleGAN2.
    """

    kind: Literal["ffl"]
    weight: NonNegative
    alpha: NonNegative = 1.0
    patch_factor: Positive = 1
    representation: Literal["full", "without_frequency", "without_phase", "without_amplitude", "dct"] = "full"
    spectra: Literal["image", "batch_mean"] = "image"

    @model_validator(mode="after")
    def _options_of_the_full_loss(self) -> Self:
        if self.representation != "full" and (self.patch_factor > 1 or self.spectra != "image"):
            raise ValueError(f"patch_factor and spectra go with representation: full, not {self.representation}")
        return self


class SpectralRegularizationConfig(Schema):
    """Cross-entropy of azimuthally averaged power spectra (Durall et al., CVPR 2020), compared in Table 7 of the FFL paper."""

    kind: Literal["spectral_regularization"]
    weight: NonNegative


class PerceptualTermConfig(Schema):
    """LPIPS; the perceptual loss of Table 7 of the FFL paper. Needs the network's weights."""

    kind: Literal["perceptual"]
    weight: NonNegative
    network: Literal["vgg", "alex", "squeeze"] = "vgg"


TermConfig = Annotated[
    MseConfig | L1Config | SsimConfig | StftConfig | FflConfig | SpectralRegularizationConfig | PerceptualTermConfig,
    Field(discriminator="kind"),
]


class CompanionObjectiveConfig(Schema):
    """Terms by the names under which the curves show them. `scale`: range in which they compare images."""

    terms: Annotated[dict[str, TermConfig], Field(min_length=1)]
    kl: NonNegative
    scale: Literal["unit", "signed"] = "signed"  # [0, 1] or [-1, 1]


class ConstantRateConfig(Schema):
    """The same learning rate throughout."""

    kind: Literal["constant"]
    rate: Rate


class CyclicRateConfig(Schema):
    """Triangular cycles of 2 `step_size` steps between two rates; the amplitude is halved after each (`decay: halving`)."""

    kind: Literal["cyclic"]
    minimum: Rate
    maximum: Rate
    step_size: Positive
    decay: Literal["halving", "none"] = "halving"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class AdamConfig(Schema):
    """Adam; `epsilon` 1e-8 is PyTorch's, 1e-7 TensorFlow's."""

    schedule: Annotated[ConstantRateConfig | CyclicRateConfig, Field(discriminator="kind")]
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: Rate = 1e-8


class CompanionConfig(Schema):
    """Everything that decides the weights of one autoencoder of the companion papers, its data set apart."""

    model: LatentModelConfig
    objective: CompanionObjectiveConfig
    optimizer: AdamConfig
    training: TrainingConfig

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.training.accumulation > 1 or self.training.recompute_activations != "none":
            raise ValueError(
                "training.accumulation and training.recompute_activations are for FA-VAE and VQ-GAN: these models are small, "
                "leave both out"
            )
        return self

    @model_validator(mode="after")
    def _terms_fit(self) -> Self:
        for name, term in self.objective.terms.items():
            if isinstance(term, PerceptualTermConfig) and self.objective.scale != "signed":
                raise ValueError(
                    f"objective.terms.{name}: LPIPS compares images in [-1, 1]: set objective.scale to signed"
                )
            if isinstance(term, StftConfig) and term.window > self.model.image_size:
                raise ValueError(
                    f"objective.terms.{name}.window {term.window} is larger than the {self.model.image_size}-pixel images"
                )
        return self
