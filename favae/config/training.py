"""Parameters of the one training loop, whatever it trains, and what every training of an autoencoder can tell."""

from typing import Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Duration, Positive, Schema, Seed
from favae.config.evaluation import LpipsNet


class TrainingConfig(Schema):
    """How long, how fast, how safely a model is trained. `batch_size` is global: it is divided among the ranks."""

    seed: Seed
    batch_size: Positive
    length: Duration
    validate_every: Duration
    checkpoint_every: Duration
    log_every: Positive = 50  # steps; losses in between are averaged, read from the device once
    selection: Literal["best", "last"] = "best"  # best on val (never on test), or the last step
    augment: Literal["none", "flip"] = "none"
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: Literal["off", "default"] = "off"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    accumulation: Positive = 1  # parts that a batch goes through in, one after the other, for less memory
    recompute_activations: Literal["none", "last_level"] = "none"  # autoencoder: less memory, a fifth more time
    ranks: Positive = 1  # processes, each with a GPU, that share every batch
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
            raise ValueError(
                f"accumulation {self.accumulation} is more parts than batch_size {self.batch_size} has images"
            )
        return self


class AutoencoderTrainingConfig(Schema):
    """Everything that decides the weights of one autoencoder, its data set apart. Subclasses add `model` and `objective`."""

    training: TrainingConfig

    @property
    def recomputes(self) -> bool:
        """Whether an adversarial step passes through the whole model a second time."""
        return False

    def pretrained_networks(self) -> set[LpipsNet]:
        """LPIPS networks whose weights the training needs."""
        return set()

    def adversarial_start(self, images: int) -> int | None:
        """Step from which a discriminator takes part, on a training split of so many images; None without one."""
        return None
