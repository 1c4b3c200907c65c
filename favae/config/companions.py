"""Parameters of the autoencoders of the companion papers (STFT-VAE, Focal Frequency Loss): one network, a sum of terms.

L = sum of terms + kl * KL(q(z|x) || N(0, 1)). The rows of those papers' tables differ only in their terms.
The block of a term holds the arguments of `favae.losses.build_term`.
"""

from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema, left_to_constructor
from favae.config.evaluation import LpipsNet
from favae.config.kinds import NetworkSchema, TermSchema, union_of
from favae.config.training import AutoencoderTrainingConfig

Rate = Annotated[float, Field(gt=0)]


class MseConfig(TermSchema):
    """Mean squared error."""

    kind: Literal["mse"]
    weight: float = left_to_constructor()


class L1Config(TermSchema):
    """Mean absolute error."""

    kind: Literal["l1"]
    weight: float = left_to_constructor()


class PerceptualTermConfig(TermSchema):
    """LPIPS, the perceptual loss in Table 7 of the FFL paper. Needs the weights of the network."""

    kind: Literal["perceptual"]
    weight: NonNegative
    network: LpipsNet = "vgg"


# Any network and any term that a file of `favae.config.kinds` declares.
if TYPE_CHECKING:
    LatentModelConfig: TypeAlias = NetworkSchema
    TermConfig: TypeAlias = TermSchema
else:
    LatentModelConfig, TermConfig = union_of(NetworkSchema), union_of(TermSchema)


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
    weights: str | None = Field(default=None, description="declared weights with which the training starts")

    @model_validator(mode="after")
    def _trains_or_starts_with_weights(self) -> Self:
        if not self.training.length.amount and self.weights is None:
            raise ValueError("training.length is 0, which exports the weights of the start; name them in weights")
        return self

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
