"""Parameters of a control that generates nothing: the condition itself is the image."""

from typing import ClassVar, Literal

from favae.config.base import Schema, Side
from favae.config.gan import GeneratorTrainingConfig, TermsConfig


class CopyModelConfig(Schema):
    """`favae.models.generators.Copy`, for images of this size."""

    kind: Literal["copy"]
    image_size: Side
    image_width: Side | None = None  # None: as the height


class CopyConfig(GeneratorTrainingConfig):
    """Nothing is trained: a way to measure images that others generated, as conditions beside the real ones."""

    task: ClassVar[str] = "favae.training.copying:CopyTask"
    model: CopyModelConfig
    objective: TermsConfig = TermsConfig()
