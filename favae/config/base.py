"""Base of all parameter schemas, and quantities that several of them share."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Spec(BaseModel):
    """A validated block of parameters: unknown keys and wrong types are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Duration(Spec):
    """A length of training in exactly one unit, converted to steps when data set and batch are known.

    The papers give epochs, the baseline gives steps; `images` is what stays comparable when the batch changes.
    """

    epochs: float | None = Field(default=None, ge=0)
    images: int | None = Field(default=None, ge=0)
    steps: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [n for n in ("epochs", "images", "steps") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of epochs, images, steps (got {given or 'none'})")
        return self

    def in_steps(self, dataset_size: int, batch_size: int) -> int:
        """Number of optimisation steps for a data set of `dataset_size` images at a global batch of `batch_size`."""
        if self.steps is not None:
            return self.steps
        if self.images is not None:
            return round(self.images / batch_size)
        assert self.epochs is not None
        return round(self.epochs * (dataset_size // batch_size))
