"""Parameters of the one training loop, whatever it trains."""

from typing import Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Duration, Positive, Schema


class TrainingConfig(Schema):
    """How long, how fast, how safely a model is trained. `batch_size` is global: it is divided among the ranks."""

    seed: int
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
