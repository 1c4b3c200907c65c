"""Parameters of an FA-VAE or VQ-GAN training: `model` is passed to `favae.models.FAVAE` as it stands."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from favae.config.base import Duration, NonNegative, Positive, Schema
from favae.config.training import TrainingConfig


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"must be odd (found {value})")
    return value


class CosineQuantizerConfig(Schema):
    """Cosine-similarity codebook updated by exponential moving averages (all released FA-VAE configurations)."""

    kind: Literal["cosine"]
    codes: Positive
    dim: Positive
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.8
    output: Literal["raw", "normalized"] = "raw"
    dead_code_threshold: NonNegative = 0.0  # released: none is replaced


class EuclideanQuantizerConfig(Schema):
    """Learned Euclidean codebook of the VQ-GAN baseline."""

    kind: Literal["euclidean"]
    codes: Positive
    dim: Positive
    beta: NonNegative = 0.25
    beta_on: Literal["codebook", "commitment"] = "codebook"  # VQ-GAN's "legacy" loss puts beta on the codebook term


class FavaeModelConfig(Schema):
    """Keyword arguments of `favae.models.FAVAE`."""

    image_size: Positive
    image_channels: Positive = 3
    base_channels: Positive = 128
    channel_multipliers: list[Positive]
    res_blocks: Positive = 2
    attention_resolutions: list[int]
    latent_channels: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    fcm: Literal["conv", "residual", "attention", "none"]
    fcm_groups: Positive = 32
    norm_groups: Positive = 32
    norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    quantizer: Annotated[CosineQuantizerConfig | EuclideanQuantizerConfig, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        factor = 2 ** (len(self.channel_multipliers) - 1)
        if self.image_size % factor:
            raise ValueError(
                f"image_size {self.image_size} is not divisible by the factor {factor} of {len(self.channel_multipliers)} levels"
            )
        for multiplier in self.channel_multipliers:
            if (self.base_channels * multiplier) % self.norm_groups:
                raise ValueError(
                    f"norm_groups {self.norm_groups} does not divide {self.base_channels * multiplier} channels"
                )
        return self


class PerceptualConfig(Schema):
    """LPIPS in the reconstruction loss. The papers use VGG; `none` is for machines without its weights."""

    network: Literal["vgg", "alex", "squeeze", "none"]
    weight: NonNegative = 1.0


class ImageFflConfig(Schema):
    """Focal frequency loss between reconstruction and image (weight 0: not computed)."""

    weight: NonNegative = 1.0
    alpha: NonNegative = 1.0


DetachTaps = Literal["no", "yes"]  # yes: the loss moves the complements only, not the encoder
KernelSize = Annotated[int, Field(gt=0), AfterValidator(_odd)]
Sigma = Annotated[float, Field(gt=0)]


class NoSpectrumConfig(Schema):
    """No loss on features (Table 2, row 4 and the baseline)."""

    kind: Literal["none"]


class FeatureFflConfig(Schema):
    """Focal frequency loss on the four pairs of features as they are (Table 2, row 5)."""

    kind: Literal["ffl"]
    weight: NonNegative = 0.01
    detach_taps: DetachTaps = "no"


class SpectrumConfig(Schema):
    """Spectrum Loss: features blurred with one fixed Gaussian (Table 2, row 6)."""

    kind: Literal["sl"]
    weight: NonNegative = 0.01
    kernel_size: KernelSize = 5
    sigma: Sigma = 3.0
    detach_taps: DetachTaps = "no"


class DynamicSpectrumConfig(Schema):
    """Dynamic Spectrum Loss: sigmas are learned, shared by a pair or one a feature (Table 2, rows 7-14)."""

    kind: Literal["dsl"]
    weight: NonNegative = 0.01
    kernel_size: KernelSize = 9
    sigma: Sigma = 3.0
    sharing: Literal["pairwise", "per_feature"] = "pairwise"
    sigma_index: Literal["paper", "official"] = "paper"
    detach_taps: DetachTaps = "no"


class DiscriminatorConfig(Schema):
    """PatchGAN: 3 layers as in VQ-GAN, or the 2-layer variant of the ImageNet f=16 run."""

    base_channels: Positive = 64
    layers: Positive = 3
    init: Literal["pytorch", "normal"] = "pytorch"


class AdversarialConfig(Schema):
    """Adversarial term, from `start` on."""

    weight: NonNegative
    start: Duration
    loss: Literal["hinge", "vanilla"] = "hinge"
    adaptive_maximum: NonNegative = 1e4
    adaptive_epsilon: NonNegative = 1e-4
    adaptive_scope: Literal["world", "rank"] = "world"  # official: each rank by its own batch
    reconstruction: Literal["reuse", "recompute"] = "reuse"  # official: a second forward pass after the G step
    codebook_update: Literal["once", "official"] = "once"  # official: again in the D step (needs recompute)
    discriminator: DiscriminatorConfig = DiscriminatorConfig()

    @model_validator(mode="after")
    def _official_needs_recompute(self) -> Self:
        if self.codebook_update == "official" and self.reconstruction != "recompute":
            raise ValueError("codebook_update: official needs reconstruction: recompute")
        return self


class FavaeObjectiveConfig(Schema):
    """L_G = l1*L1 + perceptual + commitment*L_Q + image FFL + spectrum + adversarial."""

    l1: NonNegative = 1.0
    perceptual: PerceptualConfig
    commitment: NonNegative = 1.0
    image_ffl: ImageFflConfig
    spectrum: Annotated[
        NoSpectrumConfig | FeatureFflConfig | SpectrumConfig | DynamicSpectrumConfig, Field(discriminator="kind")
    ]
    adversarial: AdversarialConfig


class FavaeOptimizerConfig(Schema):
    """Adam for generator and discriminator. `linear`: learning rate = base_lr x global batch, as published."""

    base_lr: Annotated[float, Field(gt=0)]
    scaling: Literal["linear", "none"] = "linear"
    betas: tuple[float, float] = (0.5, 0.9)
    sigma_lr: Annotated[float, Field(gt=0)] | Literal["main"] = 2.0e-7  # paper's pair-wise DSL; non-pair-wise: main
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = (
        0.0  # moving average of weights, validated and kept; released: none
    )

    def learning_rate(self, batch_size: int) -> float:
        """Learning rate at a global batch of `batch_size`."""
        return self.base_lr * (batch_size if self.scaling == "linear" else 1)


class FavaeConfig(Schema):
    """Everything that decides the weights of one FA-VAE or VQ-GAN, its data set apart."""

    model: FavaeModelConfig
    objective: FavaeObjectiveConfig
    optimizer: FavaeOptimizerConfig
    training: TrainingConfig

    @model_validator(mode="after")
    def _spectrum_needs_complements(self) -> Self:
        spectrum = self.objective.spectrum
        if self.model.fcm == "none" and spectrum.kind != "none":
            raise ValueError(
                f"objective.spectrum.kind {spectrum.kind!r} compares FCM features, but model.fcm is 'none'"
            )
        latent = self.model.image_size // 2 ** (len(self.model.channel_multipliers) - 1)
        if isinstance(spectrum, SpectrumConfig | DynamicSpectrumConfig) and spectrum.kernel_size // 2 >= latent:
            raise ValueError(
                f"objective.spectrum.kernel_size {spectrum.kernel_size} is too large for the {latent}x{latent} latent, which is "
                f"reflected at its borders: use at most {2 * latent - 1}, or larger images"
            )
        return self
