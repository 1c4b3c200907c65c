"""The schema of an autoencoder training, selected by `model.kind`."""

import importlib
from collections.abc import Mapping
from typing import Any

from favae.config.base import Schema
from favae.config.errors import BadKey, closest

_COMPANIONS = "favae.config.companions:CompanionConfig"
# Imported late, so that planning does not wait for the schemas of other models.
TRAINING_CONFIGS = {
    "favae": "favae.config.favae:FavaeConfig",
    "stft_vae": _COMPANIONS,
    "ffl_ae": _COMPANIONS,
    "ffl_vae": _COMPANIONS,
}


def training_config(parameters: Mapping[str, Any]) -> type[Schema]:
    """The schema for parameters of `train_autoencoder`. Raises BadKey if `model.kind` is missing or unknown."""
    model = parameters.get("model")
    kind = model.get("kind") if isinstance(model, Mapping) else None
    if kind not in TRAINING_CONFIGS:
        found = "missing" if kind is None else f"found {kind!r}"
        raise BadKey(("model", "kind"), f"{found}; {closest(str(kind), TRAINING_CONFIGS)}")
    module, name = TRAINING_CONFIGS[kind].split(":")
    return getattr(importlib.import_module(module), name)
