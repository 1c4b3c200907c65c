"""Parameters of the training loop, for every model, and the base schema of autoencoder trainings."""

from typing import Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Duration, Positive, Schema, Seed
from favae.config.evaluation import LpipsNet


class TrainingConfig(Schema):
    """Length, precision, checkpoints and parallelism of a training. `batch_size` is global: the ranks divide it."""

    seed: Seed
    batch_size: Positive
    length: Duration
    validate_every: Duration
    checkpoint_every: Duration
    log_every: Positive = 50  # steps; the losses in between are averaged and read from the device once
    selection: Literal["best", "last"] = "best"  # the best step on val (never on test), or the last step
    augment: Literal["none", "flip"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    accumulation: Positive = 1  # parts into which each batch is split, to need less memory
    recompute_activations: Literal["none", "last_level"] = "none"  # autoencoder: less memory, a fifth more time
    ranks: Positive = 1  # processes with one GPU each, which share every batch
    threads: Positive = 2  # CPU threads of one process
    validation_images: Positive | None = Field(default=None, description="images of val used; none = all")

    @model_validator(mode="after")
    def _ranks_have_equal_shares(self) -> Self:
        if self.batch_size % self.ranks:
            raise ValueError(f"batch_size {self.batch_size} cannot be divided evenly among {self.ranks} ranks")
        return self

    @model_validator(mode="after")
    def _parts_have_images(self) -> Self:
        if self.accumulation > self.batch_size:
            raise ValueError(f"accumulation {self.accumulation} must not exceed batch_size {self.batch_size}")
        return self


class GanTrainingConfig(TrainingConfig):
    """The same for a training with a discriminator, whose part the reconstruction loss on val does not see."""

    selection: Literal["best", "last"] = "last"  # the best step may lie before the GAN starts


class AutoencoderTrainingConfig(Schema):
    """All parameters of one autoencoder training, except its data set. Subclasses add `model` and `objective`."""

    training: TrainingConfig

    @property
    def recomputes(self) -> bool:
        """Whether an adversarial step runs a second forward pass of the whole model."""
        return False

    def pretrained_networks(self) -> set[LpipsNet]:
        """LPIPS networks whose weights the training needs."""
        return set()

    def adversarial_start(self, images: int) -> int | None:
        """Step at which the discriminator starts, for a training split of `images` images; None without a discriminator."""
        return None
