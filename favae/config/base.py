"""Base class of all parameter schemas, and types that several of them share."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0, le=1_000_000_000)]
Side = Annotated[int, Field(gt=0, le=16_384)]  # pixels
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # accepted by both NumPy and torch
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


def left_to_constructor() -> Any:
    """A field that is an argument of a constructor in `favae.models`, `favae.losses` or `favae.text`.

    Its default, range and meaning are stated only in the constructor. The field is None if it was not given: read such
    values from the built module, or from `favae.jobs.facts` where torch must not be imported.
    """
    return Field(default=None)


class Schema(BaseModel):
    """A validated block of parameters: unknown keys and wrong types are errors; instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def given(self) -> dict[str, Any]:
        """Only the values that the parameters give: arguments of a constructor, whose defaults supply the rest."""
        return self.model_dump(exclude_unset=True)


class Duration(Schema):
    """A length of training, written `20 epochs`, `1 epoch`, `300 steps` or `1000000 images`.

    The papers count epochs and the baseline steps; images stay comparable when the batch size changes.
    """

    amount: Annotated[float, Field(ge=0)]
    unit: Literal["epochs", "steps", "images"]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        amount, _, unit = str(value).partition(" ")
        unit = unit if unit.endswith("s") else f"{unit}s"
        try:
            number = float(amount)
        except ValueError:
            unit = ""
        if unit not in ("epochs", "steps", "images"):
            raise ValueError("expected a duration as in '20 epochs', '300 steps' or '1000000 images'")
        return {"amount": number, "unit": unit}

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"

    def in_steps(self, dataset_size: int, batch_size: int) -> int:
        """Number of optimisation steps for a data set of `dataset_size` images at a global batch of `batch_size`."""
        per_unit = {"steps": 1.0, "images": 1 / batch_size, "epochs": float(dataset_size // batch_size)}
        return round(self.amount * per_unit[self.unit])
