"""The generators by `kind`: pix2pix, SPADE, StyleGAN2, and a copy as a control."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from favae.models.pix2pix import UnetGenerator
from favae.models.spade import SpadeGenerator
from favae.models.stylegan2 import StyleGenerator


class Copy(nn.Module):
    """The condition as the image: measures images that others generated, and what a network must do better than nothing.

    Attributes:
        marker: a buffer, because a file of weights must hold one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("marker", torch.zeros(()))

    def forward(self, condition_B3HW: Tensor) -> Tensor:
        """An image [B,3,H,W] in [-1, 1], unchanged."""
        return condition_B3HW


GENERATORS: dict[str, type[nn.Module]] = {
    "pix2pix": UnetGenerator,
    "spade": SpadeGenerator,
    "stylegan2": StyleGenerator,
    "copy": Copy,
}
_SIZES = ("image_size", "image_width")  # of a model block; SPADE's network takes any size


def build_generator(config: Mapping[str, Any]) -> nn.Module:
    """The generator of a `model:` block: its `kind`, the size of its images, and the arguments of its class.

    Raises:
        ValueError: unknown kind or keys, or values that the class refuses.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in GENERATORS:
        raise ValueError(f"model.kind got {kind!r}; expected one of {sorted(GENERATORS)}")
    known = inspect.signature(GENERATORS[kind]).parameters
    arguments = {name: value for name, value in arguments.items() if name in known or name not in _SIZES}
    if unknown := sorted(set(arguments) - set(known)):
        raise ValueError(f"model got unknown keys {unknown}; expected keys among {sorted(known)}")
    return GENERATORS[kind](**arguments)


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A `model:` block with the defaults of its class, so that a saved model does not depend on them."""
    known = inspect.signature(GENERATORS[config["kind"]]).parameters
    defaults = {name: p.default for name, p in known.items() if p.default is not inspect.Parameter.empty}
    return defaults | dict(config)


def image_size(config: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the images of a `model:` block."""
    side = int(complete(config)["image_size"])
    return side, int(config.get("image_width") or side)
