"""Parameters of a SPADE training (Park et al. 2019): L_G = L_GAN + feature matching + terms (VGG19, and FFL)."""

from typing import ClassVar, Literal

from favae.config.base import Schema, Side, left_to_constructor
from favae.config.gan import GanLossConfig, GeneratorTrainingConfig, PairOptimizerConfig, TermsConfig, Weight


class SpadeModelConfig(Schema):
    """Arguments of `favae.models.spade.SpadeGenerator`, and the size of its images."""

    kind: Literal["spade"]
    image_size: Side
    image_width: Side | None = None  # None: as the height
    map_channels: int
    out_channels: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    hidden: int = left_to_constructor()
    upsamplings: Literal["normal", "more"] = left_to_constructor()
    norm: Literal["batch", "sync_batch", "instance"] = left_to_constructor()
    spectral_norm: Literal["released", "all", "none"] = left_to_constructor()
    spectral_init: Literal["default", "xavier"] = left_to_constructor()


class MultiscaleDiscriminatorConfig(Schema):
    """Arguments of `favae.models.spade.MultiscaleDiscriminator`, besides channels."""

    base_channels: int = left_to_constructor()
    scales: int = left_to_constructor()
    layers: int = left_to_constructor()
    spectral_norm: Literal["released", "all", "none"] = left_to_constructor()
    spectral_init: Literal["default", "xavier"] = left_to_constructor()


class SpadeObjectiveConfig(TermsConfig):
    """Adversarial loss, feature matching in the discriminator, and terms."""

    adversarial: GanLossConfig = GanLossConfig(kind="hinge", discriminator_scale="whole")
    feature_matching: Weight = 10.0


class SpadeConfig(GeneratorTrainingConfig):
    """All parameters of a SPADE training, except its data set."""

    task: ClassVar[str] = "favae.training.spade:SpadeTask"
    model: SpadeModelConfig
    discriminator: MultiscaleDiscriminatorConfig = MultiscaleDiscriminatorConfig()
    objective: SpadeObjectiveConfig
    optimizer: PairOptimizerConfig
