"""The schema of a training, selected by `model.kind`.

Every training schema in the files of `favae.config` is found, so a new kind is not listed here.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import favae.config
from favae.config.base import Schema
from favae.config.errors import BadKey, closest
from favae.config.gan import GeneratorTrainingConfig
from favae.config.kinds import below, kinds_in
from favae.config.training import AutoencoderTrainingConfig


def training_config(parameters: Mapping[str, Any]) -> type[Schema]:
    """The schema for parameters of `train_autoencoder`. Raises BadKey if `model.kind` is missing or unknown."""
    return _chosen(parameters, AutoencoderTrainingConfig)


def generator_config(parameters: Mapping[str, Any]) -> type[Schema]:
    """The schema for parameters of `train_generator`. Raises BadKey if `model.kind` is missing or unknown."""
    return _chosen(parameters, GeneratorTrainingConfig)


def _chosen(parameters: Mapping[str, Any], base: type[Schema]) -> type[Schema]:
    by_kind, model = _by_kind(base), parameters.get("model")
    kind = model.get("kind") if isinstance(model, Mapping) else None
    if kind not in by_kind:
        found = "missing: give it a value" if kind is None else f"found {kind!r}"
        raise BadKey(("model", "kind"), f"{found}; {closest(kind or '', by_kind)}")
    return by_kind[kind]


@cache
def _by_kind(base: type[Schema]) -> dict[str, type[Schema]]:
    for module in pkgutil.iter_modules(favae.config.__path__):
        importlib.import_module(f"favae.config.{module.name}")
    schemas = [schema for schema in below(base) if "model" in schema.model_fields]
    return {kind: schema for schema in schemas for kind in kinds_in(schema.model_fields["model"].annotation)}
