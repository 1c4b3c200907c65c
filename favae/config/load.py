"""Reading `params/*.yaml`: YAML 1.2 as in DVC, deep merge of subtrees, errors that name file, line and key.

`3` and `3.0` are the same value: a number without a fraction is read as an integer, so that Snakemake, DVC and the content
keys of results agree on what has changed.
"""

import json
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from favae.config.errors import BadKey, ConfigError, closest

S = TypeVar("S", bound=BaseModel)
_MOST_VALUES = 200_000  # in one file; the largest of the project has some thousands
_KEYS_OF_JSON = (str, int, float, bool, type(None))


@lru_cache(maxsize=64)
def _read(path: Path, folder: Path, mtime_ns: int) -> dict[str, Any] | ConfigError:
    """The content, or what is wrong with it: many jobs ask for the same file.

    `folder` is the working directory, to which `path` may be relative: two projects may have files of one moment.
    """
    try:
        return _read_now(path)
    except ConfigError as error:
        return error


def _read_now(path: Path) -> dict[str, Any]:
    try:
        # The pure loader follows YAML 1.2: 2e-6 is a number and `on` a string, as in DVC.
        loaded = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise ConfigError(_not_yaml(path, error)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: byte {error.start}: not UTF-8 text ({error.reason}); save the file as UTF-8"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply, expected blocks within blocks a few levels deep") from error
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:  # 2020-13-45, for example
        raise ConfigError(f"{path}: a value cannot be read: {str(error).partition(';')[0]}") from error
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: expected a mapping at the top level, found {type(loaded).__name__}")
    _check_keys_and_size(path, loaded)
    return whole_numbers(loaded)


def _not_yaml(path: Path, error: YAMLError) -> str:
    """One line for an error of the parser, which says it in several."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = f"{path}:{mark.line + 1}" if mark else str(path)
    return f"{place}: not valid YAML: {str(what).splitlines()[0]}"


def _check_keys_and_size(path: Path, tree: dict[Any, Any]) -> None:
    """Raise ConfigError for keys that are not text, and where aliases of aliases, or of themselves, make values without end."""
    if odd := [key for key in tree if not isinstance(key, str)]:
        raise ConfigError(f"{path}: the key {odd[0]!r} is not text; write it in quotes")
    waiting: list[Any] = [tree]
    count = 0
    while waiting:
        value = waiting.pop()
        inner = list(value.values() if isinstance(value, dict) else value)
        count += len(inner)
        if count > _MOST_VALUES:
            raise ConfigError(
                f"{path}: more than {_MOST_VALUES:,} values; an alias (`*name`) contains itself, or too many"
            )
        if isinstance(value, dict) and (odd := [key for key in value if not isinstance(key, _KEYS_OF_JSON)]):
            raise ConfigError(f"{path}: the key {odd[0]!r} is not text; write it in quotes")
        waiting += [item for item in inner if isinstance(item, (dict, list))]


def whole_numbers(value: Any) -> Any:
    """`value` with floats such as 3.0 replaced by integers, also within mappings and lists."""
    if isinstance(value, dict):
        return {key: whole_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_numbers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def read_yaml(path: Path) -> dict[str, Any]:
    """Content of a YAML file as plain dictionaries, lists and scalars. Raises ConfigError naming the file."""
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # a pipe would be waited for
            raise ConfigError(f"{path}: not a regular file; put a YAML file there")
        mtime_ns = status.st_mtime_ns
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: file not found (run the command in the project's root folder)") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    found = _read(path, Path.cwd(), mtime_ns)
    if isinstance(found, ConfigError):
        raise ConfigError(str(found)) from found
    return found


def subtree(path: Path, key: str) -> dict[str, Any]:
    """The mapping under the top-level `key` of a file. Raises ConfigError with the closest keys."""
    tree = read_yaml(path)
    if key not in tree:
        raise ConfigError(f"{path}: no key {key!r}; {closest(key, (k for k in tree if not k.startswith('_')))}")
    if not isinstance(tree[key], dict):
        raise ConfigError(f"{path}: {key}: expected a mapping, found {tree[key]!r}")
    return tree[key]


def deep_merge(trees: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Merge mappings; later ones override earlier ones key by key. Lists and scalars are replaced as a whole."""
    merged: dict[str, Any] = {}
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, dict) and isinstance(merged.get(key), dict):
                merged[key] = deep_merge([merged[key], value])
            else:
                merged[key] = value
    return merged


Sources = Sequence[tuple[Path, str | None]]  # (file, key) of each subtree that was merged; key None = whole file
Keys = tuple[str | int, ...]


def validate(
    schema: type[S] | Callable[[Mapping[str, Any]], type[S]], tree: dict[str, Any], where: str, sources: Sources = ()
) -> S:
    """`tree` as an instance of `schema`; if `schema` is a function, of the schema that it returns for `tree`.

    Types are those of JSON: neither `'24'` nor `true` is a number.

    Raises ConfigError with one line per problem: file, line and key if they are found in `sources` (otherwise `where`),
    what was found and what was expected.
    """
    try:
        chosen: type[S] = schema if isinstance(schema, type) else schema(tree)
        return chosen.model_validate_json(json.dumps(tree, default=str), strict=True)
    except BadKey as error:
        raise ConfigError(at(error.keys, str(error), where, sources)) from None
    except ValidationError as error:
        problems: dict[Keys, list[str]] = {}
        for problem in error.errors():
            keys = _keys_in(tree, problem)
            problems.setdefault(keys, []).append(_sentence(chosen, keys, problem))
        lines = [at(keys, " or ".join(texts), where, sources) for keys, texts in problems.items()]
        raise ConfigError("\n".join(lines)) from error


def at(keys: Keys, message: str, where: str, sources: Sources = ()) -> str:
    """One line of an error: file and line of the effective key (or of the closest block around it), key, message."""
    found = [(_line_of(path, (key, *keys) if key else keys), path) for path, key in sources]
    (depth, line), path = max(reversed(found), key=lambda place: place[0][0], default=((0, 0), Path()))
    place = f"{path}:{line}" if depth > 1 else where
    return f"{place}: {'.'.join(map(str, keys)) or '(whole block)'}: {message}"


def _line_of(path: Path, keys: Keys) -> tuple[int, int]:
    """(how many of the keys there are in a file, line of the last of these)."""
    node, line, depth = _compose(path, path.stat().st_mtime_ns), 0, 0
    for key in keys:
        found = _child(node, key)
        if found is None:
            break
        (line, node), depth = found, depth + 1
    return depth, line


@lru_cache(maxsize=64)
def _compose(path: Path, mtime_ns: int) -> Node | None:
    return YAML(typ="safe", pure=True).compose(path.read_text(encoding="utf-8"))


def _child(node: Node | None, key: str | int) -> tuple[int, Node] | None:
    """(line, value) of a key in a mapping, including mappings merged with `<<`, or of an item of a list."""
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    if not isinstance(node, MappingNode):
        return None
    for name, value in node.value:
        if name.value == str(key):
            return name.start_mark.line + 1, value
    for name, value in node.value:
        if name.value == "<<":
            merged = value.value if isinstance(value, SequenceNode) else [value]
            return next((found for inner in merged if (found := _child(inner, key))), None)
    return None


def _keys_in(tree: Any, problem: ErrorDetails) -> Keys:
    """The location of a problem, without the names that pydantic adds for members of a union."""
    keys: list[str | int] = []
    for part in problem["loc"]:
        inside = part in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(part, int)
        if inside:
            tree = tree[part]
        if inside or (problem["type"] == "missing" and part is problem["loc"][-1]):
            keys.append(part)
    if problem["type"].startswith("union_tag"):
        keys.append(str(problem["ctx"]["discriminator"]).strip("'"))
    return tuple(keys)


def _sentence(schema: type[BaseModel], keys: Keys, problem: ErrorDetails) -> str:
    """What is wrong and what was expected."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {closest(str(keys[-1]), _known_keys(schema, problem['loc']))}"
    if kind == "missing":
        return "missing: give it a value"
    if kind == "union_tag_not_found":
        return f"missing: give it a value; {closest('', _tags(schema, problem['loc']))}"
    if kind == "union_tag_invalid":
        return f"found {context['tag']!r}; {closest(context['tag'], _quoted(context['expected_tags']))}"
    if kind == "literal_error" and isinstance(problem["input"], str) and (choices := _quoted(context["expected"])):
        return f"found {problem['input']!r}; {closest(problem['input'], choices)}"
    message = (
        problem["msg"]
        .removeprefix("Value error, ")
        .replace("Input should be", "expected")
        .replace("a valid boolean", "true or false")
    )
    return message + ("" if isinstance(problem["input"], dict) else f" (found {json.dumps(problem['input'])})")


def _tags(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Values of `kind` that select a schema of the union at `location`."""
    return [str(tag) for block in _blocks_at(schema, location) if (tag := _tag(block))]


def _quoted(text: str) -> list[str]:
    return re.findall("'([^']*)'", text)


def _known_keys(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Names allowed in place of the last part of `location`."""
    return sorted({name for block in _blocks_at(schema, location[:-1]) for name in block.model_fields})


def _blocks_at(schema: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """The schemas allowed at `location`; looks into unions, lists and annotations."""
    current: list[Any] = [schema]
    for part in location:
        blocks = [block for candidate in current for block in _blocks_of(candidate)]
        fields = [block.model_fields[part].annotation for block in blocks if part in block.model_fields]
        tagged = [block for block in blocks if _tag(block) == part]
        current = fields or tagged or blocks
    return [block for candidate in current for block in _blocks_of(candidate)]


def _blocks_of(annotation: Any) -> list[type[BaseModel]]:
    """The schemas in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [block for inner in getattr(annotation, "__args__", ()) for block in _blocks_of(inner)]


def _tag(block: type[BaseModel]) -> Any:
    """The value of `kind` that selects a schema in a union."""
    kind = block.model_fields.get("kind")
    return next(iter(getattr(kind.annotation, "__args__", ())), None) if kind else None
