"""Parameters of an FA-VAE or VQ-GAN training. A block whose docstring names a class or function holds its arguments."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Duration, NonNegative, Schema, left_to_constructor
from favae.config.evaluation import LpipsNet
from favae.config.training import AutoencoderTrainingConfig, GanTrainingConfig


class CosineQuantizerConfig(Schema):
    """Cosine-similarity codebook updated by exponential moving averages (all official FA-VAE configurations)."""

    kind: Literal["cosine"]
    codes: int
    dim: int = left_to_constructor()
    decay: float = left_to_constructor()
    output: Literal["raw", "normalized"] = left_to_constructor()
    dead_code_threshold: float = left_to_constructor()


class EuclideanQuantizerConfig(Schema):
    """Learned Euclidean codebook of the VQ-GAN baseline."""

    kind: Literal["euclidean"]
    codes: int
    dim: int = left_to_constructor()
    beta: float = left_to_constructor()
    beta_on: Literal["codebook", "commitment"] = left_to_constructor()


class FavaeModelConfig(Schema):
    """Arguments of `favae.models.FAVAE`."""

    kind: Literal["favae"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    channel_multipliers: list[int] = left_to_constructor()
    res_blocks: int = left_to_constructor()
    attention_resolutions: list[int] = left_to_constructor()
    latent_channels: int = left_to_constructor()
    dropout: float = left_to_constructor()
    fcm: Literal["conv", "residual", "attention", "none"] = left_to_constructor()
    fcm_groups: int = left_to_constructor()
    norm_groups: int = left_to_constructor()
    norm_eps: float = left_to_constructor()
    quantizer: Annotated[CosineQuantizerConfig | EuclideanQuantizerConfig, Field(discriminator="kind")] = (
        left_to_constructor()
    )


class PerceptualConfig(Schema):
    """LPIPS in the reconstruction loss. The papers use VGG; `none` is for machines without its weights."""

    network: Literal["vgg", "alex", "squeeze", "none"]
    weight: NonNegative = 1.0


class ImageFflConfig(Schema):
    """Arguments of `favae.losses.FocalFrequencyLoss` between reconstruction and image (weight 0: not computed)."""

    weight: float = left_to_constructor()
    alpha: float = left_to_constructor()


class NoSpectrumConfig(Schema):
    """No loss on features (Table 2, row 4 and the baseline)."""

    kind: Literal["none"]


class FeatureFflConfig(Schema):
    """`favae.losses.FeatureFrequencyLoss` on the four pairs of features, without a blur (Table 2, row 5)."""

    kind: Literal["ffl"]
    weight: float = left_to_constructor()
    detach_taps: bool = left_to_constructor()


class SpectrumConfig(FeatureFflConfig):
    """`favae.losses.SpectrumLoss`: features blurred with one fixed Gaussian (Table 2, row 6)."""

    kind: Literal["sl"]  # type: ignore[assignment]
    kernel_size: int = left_to_constructor()
    sigma: float = left_to_constructor()


class DynamicSpectrumConfig(FeatureFflConfig):
    """`favae.losses.DynamicSpectrumLoss`: learned sigmas, one per pair or one per feature (Table 2, rows 7-14)."""

    kind: Literal["dsl"]  # type: ignore[assignment]
    kernel_size: int = left_to_constructor()
    sigma: float = left_to_constructor()
    sharing: Literal["pairwise", "per_feature"] = left_to_constructor()
    sigma_index: Literal["paper", "official"] = left_to_constructor()


class DiscriminatorConfig(Schema):
    """Arguments of `favae.models.PatchDiscriminator`: 3 layers as in VQ-GAN, or 2 layers as for ImageNet at f = 16."""

    base_channels: int = left_to_constructor()
    layers: int = left_to_constructor()
    init: Literal["pytorch", "normal"] = left_to_constructor()


class AdversarialConfig(Schema):
    """Adversarial term, used from `start` on."""

    weight: NonNegative
    start: Duration
    loss: Literal["hinge", "vanilla"] = "hinge"
    adaptive_maximum: float = left_to_constructor()  # argument of `favae.losses.adaptive_weight`, like the next one
    adaptive_epsilon: float = left_to_constructor()
    adaptive_scope: Literal["world", "rank"] = "world"  # official code: each rank uses its own batch
    reconstruction: Literal["reuse", "recompute"] = "reuse"  # official code: a second forward pass after the G step
    codebook_update: Literal["once", "official"] = "once"  # official code: again in the D step (needs recompute)
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
        0.0  # above 0: an exponential moving average of the weights is validated and exported; official code: none
    )

    def learning_rate(self, batch_size: int) -> float:
        """Learning rate at a global batch of `batch_size`."""
        return self.base_lr * (batch_size if self.scaling == "linear" else 1)


class FavaeConfig(AutoencoderTrainingConfig):
    """All parameters of one FA-VAE or VQ-GAN training, except its data set."""

    model: FavaeModelConfig
    objective: FavaeObjectiveConfig
    optimizer: FavaeOptimizerConfig
    training: GanTrainingConfig

    @property
    def recomputes(self) -> bool:
        """As in `AutoencoderTrainingConfig`."""
        return self.objective.adversarial.reconstruction == "recompute"

    def pretrained_networks(self) -> set[LpipsNet]:
        """LPIPS networks whose weights the training needs."""
        perceptual = self.objective.perceptual
        return set() if perceptual.network == "none" or not perceptual.weight else {perceptual.network}

    def adversarial_start(self, images: int) -> int:
        """As in `AutoencoderTrainingConfig`."""
        return self.objective.adversarial.start.in_steps(images, self.training.batch_size)
