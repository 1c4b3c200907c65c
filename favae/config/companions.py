"""Parameters of the autoencoders of the companion papers (STFT-VAE, Focal Frequency Loss): one network, a sum of terms.

L = sum of terms + kl * KL(q(z|x) || N(0, 1)). The rows of those papers' tables differ only in their terms.
"""

from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from favae.config.base import NonNegative, Positive, Schema
from favae.config.evaluation import LpipsNet
from favae.config.kinds import NetworkSchema, union_of
from favae.config.terms import TermConfig, lpips_of, weights_of
from favae.config.training import AutoencoderTrainingConfig

Rate = Annotated[float, Field(gt=0)]


# Any network that a file of `favae.config.kinds` declares.
if TYPE_CHECKING:
    LatentModelConfig: TypeAlias = NetworkSchema
else:
    LatentModelConfig = union_of(NetworkSchema)


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
        return lpips_of(self.objective.terms)

    def pretrained_weights(self) -> set[str]:
        """Entries of `params/weights.yaml` without which the training cannot run, besides those of LPIPS."""
        return weights_of(self.objective.terms)
