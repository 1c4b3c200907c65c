"""Kinds of autoencoders and of loss terms: one file per paper, found because it is in this folder.

A file declares what its paper adds: subclasses of `NetworkSchema` (a `model:` block) and of `TermSchema` (one of the
`terms:`). A block holds the arguments of the class in `favae.models` or `favae.losses` that has the same `kind`.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args

from pydantic import Field

from favae.config.base import Schema


class NetworkSchema(Schema):
    """Arguments of an autoencoder; `kind` names its class."""


class TermSchema(Schema):
    """Arguments of a loss term; `kind` names its class."""


def union_of(base: type[Schema]) -> Any:
    """The union of all schemas below `base`, those of this folder included; `kind` says which one is meant."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return Annotated[Union[tuple(below(base))], Field(discriminator="kind")]  # noqa: UP007  (known at run time only)


def below(base: type[Schema]) -> Iterator[type[Schema]]:
    """All schemas that are derived from `base`, directly or not."""
    for schema in base.__subclasses__():
        yield schema
        yield from below(schema)


def kinds_in(annotation: Any) -> list[str]:
    """The values of `kind` that a field accepts, from its annotation: a schema, or a union of schemas."""
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        return list(get_args(annotation.model_fields["kind"].annotation))
    return [kind for inner in get_args(annotation) for kind in kinds_in(inner)]
