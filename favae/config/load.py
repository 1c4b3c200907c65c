"""Reading `params/*.yaml`: YAML 1.2 as DVC reads it, deep merge of subtrees, errors that name file and key."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from favae.config.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


@lru_cache(maxsize=64)
def _read(path: Path, mtime_ns: int) -> dict[str, Any]:
    try:
        # The pure reader is YAML 1.2: 2e-6 is a number and `on` a string, as in DVC.
        loaded = YAML(typ="safe", pure=True).load(path.read_text())
    except YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping at the top level, found {type(loaded).__name__}")
    return loaded


def read_yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file as plain dictionaries, lists and scalars. Raises ConfigError naming the file."""
    try:
        mtime_ns = path.stat().st_mtime_ns
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: file not found (run the command in the project's root folder)") from error
    return _read(path, mtime_ns)


def subtree(path: Path, key: str) -> dict[str, Any]:
    """The mapping below the top-level `key` of a file. Raises ConfigError listing the keys there are."""
    tree = read_yaml(path)
    if key not in tree:
        there = ", ".join(k for k in tree if not k.startswith("_"))
        raise ConfigError(f"{path}: no key {key!r}; there are: {there}")
    if not isinstance(tree[key], dict):
        raise ConfigError(f"{path}: {key}: expected a mapping, found {tree[key]!r}")
    return tree[key]


def deep_merge(trees: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Merge mappings, later ones winning key by key; lists and scalars are replaced whole."""
    merged: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                merged[key] = deep_merge([merged[key], value])
            else:
                merged[key] = value
    return merged


def validate(schema: type[S], tree: dict[str, Any], where: str) -> S:
    """`tree` as an instance of `schema`. Raises ConfigError with one line a problem: where, key, found, expected."""
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(whole block)"
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = f"unknown key; known here: {', '.join(_known_keys(schema, problem['loc']))}"
            found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
            lines.append(f"{where}: {key}: {message}{found}")
        raise ConfigError("\n".join(lines)) from error


def _known_keys(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names that are allowed beside the last part of `location`."""
    current: Any = schema
    for part in location[:-1]:
        field = getattr(current, "model_fields", {}).get(part)
        candidates = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), current)
    return sorted(getattr(current, "model_fields", {}))
