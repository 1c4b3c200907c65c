"""Base of all parameter schemas, and quantities that several of them share."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Schema(BaseModel):
    """A validated block of parameters: unknown keys and wrong types are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Duration(Schema):
    """A length of training, written `20 epochs`, `300 steps` or `1000000 images`.

    The papers give epochs, the baseline gives steps; images are what stays comparable when the batch changes.
    """

    amount: Annotated[float, Field(ge=0)]
    unit: Literal["epochs", "steps", "images"]

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        amount, _, unit = str(value).partition(" ")
        if unit not in ("epochs", "steps", "images"):
            raise ValueError("expected a duration as in '20 epochs', '300 steps' or '1000000 images'")
        return {"amount": amount.replace("_", ""), "unit": unit}

    def __str__(self) -> str:
        return f"{self.amount:g} {self.unit}"

    def in_steps(self, dataset_size: int, batch_size: int) -> int:
        """Number of optimisation steps for a data set of `dataset_size` images at a global batch of `batch_size`."""
        per_unit = {"steps": 1.0, "images": 1 / batch_size, "epochs": float(dataset_size // batch_size)}
        return round(self.amount * per_unit[self.unit])
