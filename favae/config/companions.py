"""Parameters of the autoencoders of the companion papers (STFT-VAE, Focal Frequency Loss): one network, a sum of terms.

L = sum of terms + kl * KL(q(z|x) || N(0, 1)). The rows of those papers' tables differ only in their terms.
The block of a term holds the arguments of `favae.losses.build_term`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema, left_to_constructor
from favae.config.evaluation import LpipsNet
from favae.config.training import AutoencoderTrainingConfig

Rate = Annotated[float, Field(gt=0)]


class StftVaeModelConfig(Schema):
    """Arguments of `favae.models.StftVAE`: two convolutions, two latent dimensions, 69,989 parameters at 28 pixels."""

    kind: Literal["stft_vae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    latent: int = left_to_constructor()


class FflAutoencoderModelConfig(Schema):
    """Arguments of `favae.models.VanillaAutoencoder`: two linear maps, 6.3 million parameters at 64 pixels."""

    kind: Literal["ffl_ae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    hidden: int = left_to_constructor()


class FflVaeModelConfig(Schema):
    """Arguments of `favae.models.FflVAE`: strided convolutions down to 4x4 and back."""

    kind: Literal["ffl_vae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    latent: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    max_channels: int = left_to_constructor()


LatentModelConfig = Annotated[
    StftVaeModelConfig | FflAutoencoderModelConfig | FflVaeModelConfig, Field(discriminator="kind")
]


class MseConfig(Schema):
    """Mean squared error."""

    kind: Literal["mse"]
    weight: float = left_to_constructor()


class L1Config(Schema):
    """Mean absolute error."""

    kind: Literal["l1"]
    weight: float = left_to_constructor()


class SsimConfig(Schema):
    """-SSIM with an 11x11 Gaussian window of sigma 1.5. The STFT-VAE paper prints +SSIM, which training would minimise."""

    kind: Literal["ssim"]
    weight: float = left_to_constructor()


class StftConfig(Schema):
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


class FflConfig(Schema):
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


class SpectralRegularizationConfig(Schema):
    """Cross-entropy of azimuthally averaged power spectra (Durall et al., CVPR 2020), compared in Table 7 of the FFL paper."""

    kind: Literal["spectral_regularization"]
    weight: float = left_to_constructor()


class PerceptualTermConfig(Schema):
    """LPIPS, the perceptual loss in Table 7 of the FFL paper. Needs the weights of the network."""

    kind: Literal["perceptual"]
    weight: NonNegative
    network: LpipsNet = "vgg"


TermConfig = Annotated[
    MseConfig | L1Config | SsimConfig | StftConfig | FflConfig | SpectralRegularizationConfig | PerceptualTermConfig,
    Field(discriminator="kind"),
]


class CompanionObjectiveConfig(Schema):
    """The terms of the loss; their names are those in the learning curves. `scale`: range in which they compare images."""

    terms: Annotated[dict[str, TermConfig], Field(min_length=1)]
    kl: NonNegative
    scale: Literal["unit", "signed"] = "signed"  # [0, 1] or [-1, 1]


class ConstantRateConfig(Schema):
    """Constant learning rate."""

    kind: Literal["constant"]
    rate: Rate


class CyclicRateConfig(Schema):
    """Triangular cycles of 2 * `step_size` steps between two rates. `decay: halving` halves the amplitude after each."""

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


class CompanionConfig(AutoencoderTrainingConfig):
    """All parameters of one autoencoder training of the companion papers, except its data set."""

    model: LatentModelConfig
    objective: CompanionObjectiveConfig
    optimizer: AdamConfig

    @model_validator(mode="after")
    def _whole_batches(self) -> Self:
        if self.training.accumulation > 1 or self.training.recompute_activations != "none":
            raise ValueError(
                "training.accumulation and training.recompute_activations are supported for FA-VAE and VQ-GAN only; "
                "remove both"
            )
        return self

    def pretrained_networks(self) -> set[LpipsNet]:
        """LPIPS networks whose weights the training needs."""
        return {term.network for term in self.objective.terms.values() if isinstance(term, PerceptualTermConfig)}
