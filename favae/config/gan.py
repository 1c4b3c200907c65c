"""Parameters that pix2pix, SPADE and StyleGAN2 share."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Schema, left_to_constructor
from favae.config.evaluation import LpipsNet
from favae.config.terms import TermConfig, lpips_of, weights_of
from favae.config.training import TrainingConfig

Rate = Annotated[float, Field(gt=0)]
Epochs = Annotated[int, Field(ge=0, le=1_000_000)]
Weight = Annotated[float, Field(ge=0)]


class GanLossConfig(Schema):
    """Arguments of `favae.losses.gan.build_gan_loss`. `half` averages the discriminator's two terms, `whole` adds them."""

    kind: Literal["vanilla", "hinge", "lsgan"]
    discriminator_scale: Literal["half", "whole"] = left_to_constructor()


class LinearDecayConfig(Schema):
    """Learning rate: `constant` epochs as given, then linearly down to 0 in `decay` epochs (0: never).

    `lr_step` is when the published code advances it, see `favae.training.decay.linear_decay`.
    """

    constant: Epochs
    decay: Epochs = 0
    lr_step: Literal["before", "after", "spade"] = left_to_constructor()


class PairOptimizerConfig(Schema):
    """Adam for both networks of a pair; `generator_lr` and `discriminator_lr` may differ (SPADE: 1e-4 and 4e-4)."""

    generator_lr: Rate
    discriminator_lr: Rate
    betas: tuple[float, float]
    schedule: LinearDecayConfig


class TermsConfig(Schema):
    """`terms` compare the generated image with a real one, both in [-1, 1]; their names are those in the learning curves."""

    terms: dict[str, TermConfig] = Field(default_factory=dict)


class GeneratorTrainingConfig(Schema):
    """All parameters of one training of a generator against a discriminator, except its data set.

    Subclasses add `model` and what else their task needs. `task` is that task's class, `module:name`.
    """

    task: ClassVar[str]
    training: TrainingConfig
    objective: TermsConfig

    @model_validator(mode="after")
    def _supported(self) -> Self:
        training = self.training
        if training.selection == "best":
            raise ValueError("training.selection: no loss says which generator is best; set it to last")
        only = {"precision": "fp32", "compile": False, "memory_format": "contiguous", "accumulation": 1}
        for name, value in {**only, "recompute_activations": "none"}.items():
            if getattr(training, name) != value:
                raise ValueError(f"training.{name} is not supported for a generator; remove it")
        return self

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Height and width of the images, None if the constructor's default decides."""
        side = self.model.image_size  # type: ignore[attr-defined]
        return None if side is None else (side, getattr(self.model, "image_width", None) or side)  # type: ignore[attr-defined]

    def pretrained_weights(self) -> set[str]:
        """Entries of `params/weights.yaml` without which the training cannot run, besides those of LPIPS."""
        return weights_of(self.objective.terms)

    def pretrained_networks(self) -> set[LpipsNet]:
        """LPIPS networks whose weights the training needs."""
        return lpips_of(self.objective.terms)
