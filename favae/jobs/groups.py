"""Expanding the groups of `params/grid.yaml` into cells.

A group of a stage is one mapping:

    {recipe: table2, rows: all, numbers: f16-celebahq, dataset: celebahq}

It makes one cell per combination of a row of `params/<recipe>.yaml`, a block of numbers of `params/<scale>.yaml`, and a
cell of each input. `rows` and inputs are a name, a pattern (`r12*`), a list of both, or `all`; `numbers` is a name or a
list. `dataset: own` is the data set on which the model was trained. If the input `reference` is left out, it is the
reference with the name of the data set. `name` replaces the stage's pattern of cell names, and `rename` replaces values
within the name.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from typing import Any, TypeVar

from favae.config.base import Schema
from favae.config.errors import BadKey, ConfigError, blaming, closest
from favae.config.load import at, read_yaml, validate
from favae.jobs.stages import STAGES, Stage
from favae.runtime import paths

S = TypeVar("S", bound=Schema)

_KEYS = ("recipe", "rows", "numbers", "name", "rename")
_OWN = "own"
_WILDCARD = re.compile(r"[*?[]")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


@dataclass(frozen=True)
class Cell:
    """Definition of a job: its two parameter blocks, and one cell per input role."""

    recipe: str
    row: str
    numbers: str
    roles: dict[str, str]


Cells = dict[str, dict[str, Cell]]  # stage -> name of the cell -> cell


def expand(scale: str, tree: Mapping[str, Any]) -> Cells:
    """All cells of one scale of `params/grid.yaml`. Raises ConfigError naming file, line and key."""
    try:
        return _expand(scale, tree)
    except BadKey as error:
        raise ConfigError(at((scale, *error.keys), str(error), str(paths.GRID), [(paths.GRID, None)])) from None


def _expand(scale: str, tree: Mapping[str, Any]) -> Cells:
    if not isinstance(tree, Mapping):
        raise BadKey((), f"expected a mapping of stages to lists of groups, found {tree!r}")
    if unknown := sorted(set(tree) - set(STAGES), key=str):
        raise BadKey((unknown[0],), f"unknown stage; {closest(unknown[0], STAGES)}")
    cells: Cells = {}
    for stage in STAGES.values():
        cells[stage.name] = own = {}
        groups = tree.get(stage.name) or []
        if not isinstance(groups, list):
            raise BadKey((stage.name,), f"expected a list of groups, found {groups!r}")
        for number, group in enumerate(groups):
            try:
                for name, cell in _expand_group(scale, stage, group, cells):
                    if not _NAME.fullmatch(name):
                        raise BadKey(("name",), f"{name!r} is not a valid name of a cell; use a-z, 0-9, '-' and '_'")
                    if name in own:
                        raise BadKey((), f"a second cell {name!r}; give one of the two groups a `name`")
                    own[name] = cell
            except BadKey as error:
                raise BadKey((stage.name, number, *error.keys), str(error)) from None
    return cells


def _expand_group(scale: str, stage: Stage, group: Any, cells: Cells) -> Iterator[tuple[str, Cell]]:
    if not isinstance(group, Mapping):
        raise BadKey((), f"expected a mapping such as {{recipe: ..., rows: ..., numbers: ...}}, found {group!r}")
    known = (*_KEYS, *stage.inputs)
    if unknown := sorted(set(group) - set(known), key=str):
        raise BadKey((unknown[0],), f"unknown key; {closest(unknown[0], known)}")
    needed = ("recipe", "rows", "numbers", *(role for role in stage.inputs if role != "reference"))
    if missing := [key for key in needed if key not in group]:
        raise BadKey((), f"the key {missing[0]!r} is missing")
    for numbers, row in product(_numbers(group["numbers"], scale), _rows(group["rows"], group["recipe"])):
        for roles in _roles(stage, group, cells):
            name = _name(stage, group, {"row": row, "numbers": numbers, **roles})
            yield name, Cell(group["recipe"], row, numbers, roles)


def _rows(wanted: Any, recipe: str) -> list[str]:
    file = paths.params_file(recipe)
    if not file.exists():
        files = (path.stem for path in sorted(file.parent.glob("*.yaml")))
        raise BadKey(("recipe",), f"there is no file {file}; {closest(recipe, files)}")
    available = rows_of(recipe)
    with blaming("rows"):
        return chosen(wanted, available, str(file))


def _numbers(wanted: Any, scale: str) -> list[str]:
    names, available = _as_list(wanted), rows_of(scale)
    if unknown := [name for name in names if name not in available]:
        file = paths.params_file(scale)
        raise BadKey(("numbers",), f"{file}: no block {unknown[0]!r}; {closest(unknown[0], available)}")
    return names


def _name(stage: Stage, group: Mapping[str, Any], words: Mapping[str, str]) -> str:
    rename, pattern = group.get("rename", {}), group.get("name", stage.cells)
    if not isinstance(rename, Mapping):
        raise BadKey(("rename",), f"expected a mapping such as {{baseline: vqgan}}, found {rename!r}")
    try:
        return str(pattern).format_map({k: rename.get(v, v) for k, v in words.items()})
    except (ValueError, LookupError, AttributeError) as error:
        keys = ", ".join(f"{{{key}}}" for key in words)
        raise BadKey(("name",), f"{pattern!r} cannot be filled in ({error}); expected text with {keys}") from None


def _roles(stage: Stage, group: Mapping[str, Any], cells: Cells) -> Iterator[dict[str, str]]:
    """Every combination of one cell per role that a group allows."""
    combinations: list[dict[str, str]] = [{}]
    for role in stage.inputs:
        combinations = [
            {**roles, role: name} for roles in combinations for name in _cells_for(role, stage, roles, group, cells)
        ]
    yield from combinations


def _cells_for(role: str, stage: Stage, roles: Mapping[str, str], group: Mapping[str, Any], cells: Cells) -> list[str]:
    source = stage.inputs[role]
    wanted = group.get(role, roles.get("dataset"))
    if wanted == _OWN:
        wanted = cells[stage.inputs["model"]][roles["model"]].roles["dataset"]
    with blaming(role):
        return chosen(wanted, cells[source], source)


def rows_of(recipe: str) -> list[str]:
    """Rows of a recipe file in file order; keys that begin with `_` are not rows."""
    return [name for name in read_yaml(paths.params_file(recipe)) if not name.startswith("_")]


def said_of_rows(recipe: str, key: str, schema: type[S]) -> dict[str, S]:
    """What the block `key` (such as `_rows`) of a recipe file says of its rows, by row.

    Raises ConfigError naming a row that the file does not have, or what does not fit `schema`.
    """
    path = paths.params_file(recipe)
    tree = read_yaml(path)
    listed = tree.get(key) or {}
    if strangers := [row for row in listed if row not in tree]:
        text = f"this file has no such row; {closest(strangers[0], rows_of(recipe))}"
        raise ConfigError(at((key, strangers[0]), text, str(path), [(path, None)]))
    return {row: validate(schema, entry, f"{path}: {key}.{row}") for row, entry in listed.items()}


def chosen(wanted: Any, available: Collection[str], where: str) -> list[str]:
    """Names among `available` that a name, a pattern, a list of them or `all` asks for, in the order of `available`.

    Raises ConfigError if a pattern matches nothing.
    """
    if wanted == "all" and available:
        return list(available)
    patterns = ["*"] if wanted == "all" else _as_list(wanted)
    found: set[str] = set()
    for pattern in patterns:
        # A plain name is looked up, not compared with every other: a grid may have a group for each of its cells.
        plain = not _WILDCARD.search(pattern)
        names = [pattern] if plain else [name for name in available if fnmatchcase(name, pattern)]
        if not names or (plain and pattern not in available):
            raise ConfigError(f"{where}: nothing matches {pattern!r}; {closest(pattern, available)}")
        found.update(names)
    return list(found) if len(found) == 1 else [name for name in available if name in found]


def _as_list(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else [str(value)]
