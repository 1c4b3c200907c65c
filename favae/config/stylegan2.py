"""Parameters of a StyleGAN2 training (Karras et al. 2020): logistic loss, lazy R1 and path length, and FFL between batches."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from favae.config.base import Positive, Probability, Schema, left_to_constructor
from favae.config.gan import GanLossConfig, GeneratorTrainingConfig, Rate, TermsConfig, Weight


class StyleModelConfig(Schema):
    """Arguments of `favae.models.stylegan2.StyleGenerator`."""

    kind: Literal["stylegan2"]
    image_size: int = left_to_constructor()
    image_channels: int = left_to_constructor()
    z: int = left_to_constructor()
    w: int = left_to_constructor()
    mapping_layers: int = left_to_constructor()
    base_channels: int = left_to_constructor()
    max_channels: int = left_to_constructor()
    modulation: Literal["scaled", "fused"] = left_to_constructor()


class StyleDiscriminatorConfig(Schema):
    """Arguments of `favae.models.style_discriminator.StyleDiscriminator`, besides size and channels of the images."""

    base_channels: int = left_to_constructor()
    max_channels: int = left_to_constructor()
    group: int = left_to_constructor()


class R1Config(Schema):
    """R1 in every `interval`-th step of the discriminator; 0.0002 side^2 / batch is a usual `gamma`."""

    gamma: Weight
    interval: Positive = 16


class PathLengthConfig(Schema):
    """Path length in every `interval`-th step of the generator, on a batch that is `batch_divisor` times smaller."""

    weight: Weight = left_to_constructor()
    decay: float = left_to_constructor()
    interval: Positive = 4
    across_ranks: Literal["global", "local"] = left_to_constructor()
    batch_divisor: Positive = 2


class StyleObjectiveConfig(TermsConfig):
    """`mixing` is the probability of two styles. `terms` compare a generated batch with the discriminator's real batch of
    the same step, as spectra averaged over the batch (`batch_ffl`)."""

    adversarial: GanLossConfig = GanLossConfig(kind="vanilla", discriminator_scale="whole")
    r1: R1Config
    path_length: PathLengthConfig = PathLengthConfig()
    mixing: Probability = 0.9


class StyleOptimizerConfig(Schema):
    """Adam with the constants of lazy regularisation (`favae.losses.gan_regularization.lazy_adam`).

    `order` of the two steps: `d_then_g` (rosinality) or `g_then_d` (stylegan2-ada-pytorch). `average_half_life` of the
    exported moving average of the generator, in thousands of images.
    """

    lr: Rate
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.99
    order: Literal["d_then_g", "g_then_d"] = "d_then_g"
    average_half_life: Rate = 10.0


class StyleGan2Config(GeneratorTrainingConfig):
    """All parameters of a StyleGAN2 training, except its data set."""

    task: ClassVar[str] = "favae.training.stylegan2:StyleGan2Task"
    model: StyleModelConfig
    discriminator: StyleDiscriminatorConfig = StyleDiscriminatorConfig()
    objective: StyleObjectiveConfig
    optimizer: StyleOptimizerConfig
