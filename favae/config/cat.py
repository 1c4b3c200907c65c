"""Parameters of CAT: tokens, text, training, sampling. `model` is passed to `favae.models.CAT` beside codes and grid."""

from typing import Annotated, Literal

from pydantic import Field

from favae.config.base import Duration, NonNegative, Positive, Probability, Schema
from favae.config.evaluation import EvaluationConfig
from favae.config.training import TrainingConfig


class TokenizeConfig(Schema):
    """Encoding a data set with a frozen FA-VAE."""

    batch_size: Positive
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


class AdamWConfig(Schema):
    """AdamW with linear warm-up and cosine decay to zero, stepped every iteration."""

    base_lr: Annotated[float, Field(gt=0)]
    scaling: Literal["linear", "none"] = "linear"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: NonNegative = 0.01
    no_decay: Literal["official", "standard"] = "official"
    warmup: Duration
    clip_norm: NonNegative = 0.0  # 0: no clipping, as released

    def learning_rate(self, batch_size: int) -> float:
        """Peak learning rate at a global batch of `batch_size`."""
        return self.base_lr * (batch_size if self.scaling == "linear" else 1)


class CatModelConfig(Schema):
    """Keyword arguments of `favae.models.CAT`; codes, grid and text width come from tokens and text encoder."""

    layers: Positive = 24
    dim: Positive = 1536
    heads: Positive = 16
    head_dim: Positive = 64
    feedforward_multiplier: Positive = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    relative_position: Literal["official", "aligned"] = "official"
    key_value: Literal["shared", "separate"] = "shared"
    token_embedding_std: Annotated[float, Field(gt=0)] = 1.0


class LearnedTextConfig(Schema):
    """A small text encoder trained with CAT, for scales where CLIP's weights are not at hand."""

    kind: Literal["learned"]
    dim: Positive = 256
    layers: Positive = 2
    heads: Positive = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    max_tokens: Positive = 64
    min_count: Positive = 1


class ClipTextConfig(Schema):
    """OpenAI's CLIP text tower, frozen; `weights` names an entry of `params/weights.yaml`."""

    kind: Literal["clip"]
    model: str = "ViT-L-14-quickgelu"
    weights: str
    mask: Literal["official", "length"] = "official"


class CatConfig(Schema):
    """Everything that decides the weights of one CAT, its tokens apart."""

    model: CatModelConfig
    text: Annotated[LearnedTextConfig | ClipTextConfig, Field(discriminator="kind")]
    text_drop: Probability = 0.25
    optimizer: AdamWConfig
    training: TrainingConfig


class GenerateConfig(Schema):
    """Sampling from a trained CAT and comparing with real images.

    `captions: first` draws from the first captions of each image, `random` from a seeded choice of them. `against` names
    the real images: those of the protocol's `split` (`fid_test`), or also all of the data set (`fid_vs_all_test`).
    """

    seed: int
    guidance: list[NonNegative]
    top_k: Positive | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    temperature: NonNegative = 1.0
    batch_size: Positive
    captions: Literal["first", "random"] = "first"
    captions_per_image: Positive = 1
    against: Literal["split", "split_and_all"] = "split"
    examples: Positive = 8
    protocol: EvaluationConfig
