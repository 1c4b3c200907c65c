"""Parameters of CAT: tokens, text, training, sampling. `model` holds arguments of `favae.models.CAT`."""

from typing import Annotated, Literal

from pydantic import Field

from favae.config.base import Duration, NonNegative, Positive, Probability, Schema, Seed, left_to_constructor
from favae.config.evaluation import EvaluationConfig
from favae.config.training import TrainingConfig


class TokenizeConfig(Schema):
    """Encoding a data set with a frozen FA-VAE."""

    batch_size: Positive
    splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


class AdamWConfig(Schema):
    """AdamW with linear warm-up and cosine decay to zero, updated in every step."""

    base_lr: Annotated[float, Field(gt=0)]
    scaling: Literal["linear", "none"] = "linear"
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: NonNegative = 0.01
    no_decay: Literal["official", "standard"] = "official"
    warmup: Duration
    clip_norm: NonNegative = 0.0  # 0: no clipping, as in the official code

    def learning_rate(self, batch_size: int) -> float:
        """Peak learning rate at a global batch of `batch_size`."""
        return self.base_lr * (batch_size if self.scaling == "linear" else 1)


class CatModelConfig(Schema):
    """Keyword arguments of `favae.models.CAT`; codes, grid and text width come from tokens and text encoder."""

    layers: int = left_to_constructor()
    dim: int = left_to_constructor()
    heads: int = left_to_constructor()
    head_dim: int = left_to_constructor()
    feedforward_multiplier: int = left_to_constructor()
    dropout: float = left_to_constructor()
    relative_position: Literal["official", "aligned"] = left_to_constructor()
    key_value: Literal["shared", "separate"] = left_to_constructor()
    token_embedding_std: float = left_to_constructor()


class LearnedTextConfig(Schema):
    """Options of `favae.text.build_text_encoder`: a small text encoder trained with CAT, for scales without CLIP's weights."""

    kind: Literal["learned"]
    dim: int = left_to_constructor()
    layers: int = left_to_constructor()
    heads: int = left_to_constructor()
    dropout: float = left_to_constructor()
    max_tokens: int = left_to_constructor()
    min_count: Positive = left_to_constructor()


class ClipTextConfig(Schema):
    """OpenAI's CLIP text tower, frozen; `weights` names an entry of `params/weights.yaml`."""

    kind: Literal["clip"]
    model: str = left_to_constructor()
    weights: str
    mask: Literal["official", "length"] = left_to_constructor()


class CatConfig(Schema):
    """All parameters of one CAT training, except its tokens."""

    model: CatModelConfig
    text: Annotated[LearnedTextConfig | ClipTextConfig, Field(discriminator="kind")]
    text_drop: Probability = 0.25
    optimizer: AdamWConfig
    training: TrainingConfig


class SamplingConfig(Schema):
    """How codes are drawn from a trained CAT."""

    seed: Seed
    top_k: Positive | None
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    temperature: NonNegative = left_to_constructor()
    batch_size: Positive


class GenerateConfig(SamplingConfig):
    """Sampling from a trained CAT and comparing with real images.

    `captions: first` samples for the first captions of each image, `random` for a seeded choice of them. `against` selects
    the real images: those of the protocol's `split` (`fid_test`), or additionally the whole data set (`fid_vs_all_test`).
    """

    guidance: list[NonNegative]
    captions: Literal["first", "random"] = "first"
    captions_per_image: Positive = 1
    against: Literal["split", "split_and_all"] = "split"
    examples: Positive = 8
    protocol: EvaluationConfig


class CaptionTestConfig(SamplingConfig):
    """Whether a thing named in a caption changes what the images show, for data sets with `captions: label_maps`.

    For each of the first `n` images of `split` (or `all`), its caption is sampled with and without each thing.
    """

    guidance: NonNegative
    split: Literal["train", "val", "test"] = "test"
    n: Positive | Literal["all"] = "all"
