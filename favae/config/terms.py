"""Terms of an objective that compare an output with an image: those of no paper, and those of `favae.config.kinds`.

A block holds the arguments of `favae.losses.build_term`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from favae.config.base import NonNegative, left_to_constructor
from favae.config.evaluation import LpipsNet
from favae.config.kinds import TermSchema, union_of


class MseConfig(TermSchema):
    """Mean squared error."""

    kind: Literal["mse"]
    weight: float = left_to_constructor()


class L1Config(TermSchema):
    """Mean absolute error."""

    kind: Literal["l1"]
    weight: float = left_to_constructor()


class PerceptualTermConfig(TermSchema):
    """LPIPS, the perceptual loss in Table 7 of the FFL paper. Needs the weights of the network."""

    kind: Literal["perceptual"]
    weight: NonNegative
    network: LpipsNet = "vgg"


class VggTermConfig(TermSchema):
    """Perceptual loss of SPADE on VGG19 (`favae.losses.perceptual.PerceptualLoss`); images in [-1, 1]. Needs the weights.

    `network_input: as_is` feeds images in [-1, 1], as the released code does; `imagenet` normalises them.
    """

    kind: Literal["vgg19"]
    weight: NonNegative
    network_input: Literal["as_is", "imagenet"] = left_to_constructor()


# Any term that this file or one of `favae.config.kinds` declares.
if TYPE_CHECKING:
    TermConfig: TypeAlias = TermSchema
else:
    TermConfig = union_of(TermSchema)


def weights_of(terms: Mapping[str, TermSchema]) -> set[str]:
    """Entries of `params/weights.yaml` that terms need, other than those of LPIPS."""
    return {"vgg19"} if any(isinstance(term, VggTermConfig) for term in terms.values()) else set()


def lpips_of(terms: Mapping[str, TermSchema]) -> set[LpipsNet]:
    """LPIPS networks that terms need."""
    return {term.network for term in terms.values() if isinstance(term, PerceptualTermConfig)}
