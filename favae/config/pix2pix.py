"""Parameters of a pix2pix training (Isola et al. 2017): L_G = L_GAN + terms (100 L1, and FFL)."""

from typing import ClassVar, Literal

from favae.config.base import Schema, left_to_constructor
from favae.config.gan import GanLossConfig, GeneratorTrainingConfig, PairOptimizerConfig, TermsConfig


class UnetModelConfig(Schema):
    """Arguments of `favae.models.pix2pix.UnetGenerator`."""

    kind: Literal["pix2pix"]
    image_size: int = left_to_constructor()
    in_channels: int = left_to_constructor()
    out_channels: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    norm: Literal["batch", "instance"] = left_to_constructor()
    dropout_levels: Literal["pytorch", "lua"] = left_to_constructor()


class PairDiscriminatorConfig(Schema):
    """Arguments of `favae.models.pix2pix.PairDiscriminator`, besides channels."""

    base_channels: int = left_to_constructor()
    layers: int = left_to_constructor()


class Pix2PixObjectiveConfig(TermsConfig):
    """Adversarial loss and terms."""

    adversarial: GanLossConfig = GanLossConfig(kind="vanilla")


class Pix2PixConfig(GeneratorTrainingConfig):
    """All parameters of a pix2pix training, except its data set."""

    task: ClassVar[str] = "favae.training.pix2pix:Pix2PixTask"
    model: UnetModelConfig
    discriminator: PairDiscriminatorConfig = PairDiscriminatorConfig()
    objective: Pix2PixObjectiveConfig
    optimizer: PairOptimizerConfig
