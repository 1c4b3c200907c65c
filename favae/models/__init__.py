"""Networks; they import only torch.

An autoencoder is found by its `kind` because its file is in this folder.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

from favae.models.cat import CAT, cat_parameter_groups
from favae.models.decoder import Decoding
from favae.models.discriminators import PatchDiscriminator
from favae.models.encoder import Encoding
from favae.models.favae import FAVAE, FAVAEOutput
from favae.models.ffl import FflVAE, VanillaAutoencoder
from favae.models.latent import Autoencoder, LatentModel, Posterior
from favae.models.quantizers import Quantized, build_quantizer
from favae.models.stft_vae import StftVAE
from favae.models.text_encoder import LearnedTextEncoder


def _kinds_below(base: type[Autoencoder]) -> Iterator[tuple[str, type[Autoencoder]]]:
    for model in base.__subclasses__():
        if "kind" in vars(model):
            yield model.kind, model
        yield from _kinds_below(model)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
AUTOENCODERS: dict[str, type[Autoencoder]] = dict(_kinds_below(Autoencoder))  # type: ignore[type-abstract]


def build_autoencoder(config: Mapping[str, Any]) -> Autoencoder:
    """The autoencoder of a `model:` block: its `kind`, one of AUTOENCODERS, and the arguments of that class.

    Raises:
        ValueError: unknown kind or keys, or values that the class refuses.
    """
    arguments = dict(config)
    kind = arguments.pop("kind", None)
    if kind not in AUTOENCODERS:
        raise ValueError(f"model.kind got {kind!r}; expected one of {sorted(AUTOENCODERS)}")
    return AUTOENCODERS[kind].from_config(arguments)


__all__ = [
    "AUTOENCODERS",
    "CAT",
    "FAVAE",
    "Autoencoder",
    "Decoding",
    "Encoding",
    "FAVAEOutput",
    "FflVAE",
    "LatentModel",
    "LearnedTextEncoder",
    "PatchDiscriminator",
    "Posterior",
    "Quantized",
    "StftVAE",
    "VanillaAutoencoder",
    "build_autoencoder",
    "build_quantizer",
    "cat_parameter_groups",
]
