"""Parameters of the segmenter of a labelled data set, and of scoring generated images with it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from favae.config.base import Positive, Schema, Seed, left_to_constructor
from favae.config.training import TrainingConfig


class SegmenterModelConfig(Schema):
    """Arguments of `favae.models.segmenter.Segmenter`; `classes` must be those of the data set."""

    classes: int
    base_channels: int = left_to_constructor()
    levels: int = left_to_constructor()


class SegmenterConfig(Schema):
    """Training of a segmenter on real pairs: cross-entropy per pixel, Adam, the best mean IoU on val."""

    model: SegmenterModelConfig
    lr: Annotated[float, Field(gt=0)]
    training: TrainingConfig

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if (self.training.precision, self.training.compile, self.training.accumulation) != ("fp32", False, 1):
            raise ValueError("training: a segmenter has no precision, compile or accumulation; remove them")
        return self


class SegmentationConfig(Schema):
    """Scoring of generated images: the segmenter's labels of them, compared with the conditions.

    The same is measured for controls: real images, these blurred and grey, the conditions painted in each class's mean
    colour, and images of other people (each the one before it in the batch). `test_mode` and `seed` as for `evaluate_generator`.
    """

    split: Literal["train", "val", "test"] = "test"
    n: Positive | Literal["all"] = "all"
    test_mode: Literal["train", "eval"] = "eval"
    seed: Seed = 0
    batch_size: Positive = 32
