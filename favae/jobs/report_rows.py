"""Rows of tables and series of figures from `each: <stage>/<pattern>`: one per cell that matches the pattern.

    {each: evaluate_reconstruction/celebahq-f16-*-on-celebahq, published: "favae-table2/{published}"}

Cells that the same table or figure already names are left out, so an `each` at the end means "all others". In a table,
all cells of one row of a recipe (its seeds) form one row; in a figure, with `seeds: mean`, one curve.

Labels come from the recipe (`_rows: {<row>: {label: ..., short: ..., published: ...}}`); the default is the row's name.
`label` and `published` are patterns with `{label}`, `{short}`, `{published}`, `{row}`, `{numbers}`, `{model}` and
`{dataset}`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from favae.config.errors import BadKey, blaming, closest
from favae.config.reporting import RowNames
from favae.jobs.groups import Cell, Cells, chosen, said_of_rows
from favae.jobs.stages import STAGES

_EACH_KEYS = {"each", "label", "published", "panel", "seeds"}


def expand_tables(tables: list[Any], cells: Cells) -> list[Any]:
    """The tables of a scale with every `each` replaced by its rows. Raises BadKey."""
    return [_expand(table, (number, "rows"), _table_rows, cells) for number, table in enumerate(tables)]


def expand_figures(figures: list[Any], cells: Cells) -> list[Any]:
    """The figures of a scale with every `each` replaced by its series. Raises BadKey."""
    return [_expand(figure, (number, "series"), _series, cells) for number, figure in enumerate(figures)]


def _expand(
    tree: Any,
    keys: tuple[int, str],
    make: Callable[[Mapping[str, Any], list[str], Cells], Iterator[dict[str, Any]]],
    cells: Cells,
) -> Any:
    key = keys[1]
    entries = tree.get(key) if isinstance(tree, dict) else None
    if not isinstance(entries, list) or not any(isinstance(e, dict) and "each" in e for e in entries):
        return tree
    named = {name for entry in entries if isinstance(entry, dict) for name in _named(entry)}
    expanded: list[Any] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or "each" not in entry:
            expanded.append(entry)
            continue
        if unknown := sorted(set(entry) - _EACH_KEYS):
            raise BadKey((*keys, number, unknown[0]), f"unknown key; {closest(unknown[0], sorted(_EACH_KEYS))}")
        if entry.get("seeds", "mean") != "mean":
            raise BadKey((*keys, number, "seeds"), f"found {entry['seeds']!r}; leave it out, or write seeds: mean")
        stage, _, pattern = str(entry["each"]).partition("/")
        with blaming(*keys, number, "each"):
            found = [f"{stage}/{name}" for name in chosen(pattern, cells.get(stage, {}), stage)]
        found = [name for name in found if name not in named]
        named.update(found)
        expanded += make(entry, found, cells)
    return {**tree, key: expanded}


def _named(entry: Mapping[str, Any]) -> list[str]:
    return [*([entry["cell"]] if entry.get("cell") else []), *(entry.get("cells") or [])]


def _table_rows(entry: Mapping[str, Any], found: list[str], cells: Cells) -> Iterator[dict[str, Any]]:
    for names in _by_row(found, cells):
        words = _words(names[0], cells)
        row: dict[str, Any] = {"label": entry.get("label", "{label}").format_map(words)}
        if "published" in entry and ("published" in words or "{published}" not in entry["published"]):
            row["published"] = entry["published"].format_map(words)
        yield row | ({"cell": names[0]} if len(names) == 1 else {"cells": names})


def _series(entry: Mapping[str, Any], found: list[str], cells: Cells) -> Iterator[dict[str, Any]]:
    for names in _by_row(found, cells) if "seeds" in entry else [[name] for name in found]:
        words = _words(names[0], cells)
        panel = {"panel": entry["panel"].format_map(words)} if "panel" in entry else {}
        series = {"label": entry.get("label", "{short}").format_map(words), **panel}
        yield series | ({"cell": names[0]} if len(names) == 1 else {"cells": names})


def _by_row(found: list[str], cells: Cells) -> list[list[str]]:
    """The cells of one row of a recipe on one data set together: its seeds."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name in found:
        trained = _trained(name, cells)
        rows.setdefault((trained.recipe, trained.row, _roles(name, cells).get("dataset", "")), []).append(name)
    return list(rows.values())


def _roles(name: str, cells: Cells) -> dict[str, str]:
    stage, _, cell = name.partition("/")
    return cells[stage][cell].roles


def _trained(name: str, cells: Cells) -> Cell:
    """The training of the model that a cell reads, or the cell itself. Its recipe row is the subject of a table's row."""
    stage, _, cell = name.partition("/")
    model = cells[stage][cell].roles.get("model")
    return cells[STAGES[stage].inputs["model"]][model] if model else cells[stage][cell]


def _words(name: str, cells: Cells) -> dict[str, str]:
    """Values for the placeholders in a pattern of a label."""
    trained = _trained(name, cells)
    names = names_of_rows(trained.recipe).get(trained.row, RowNames())
    label = names.label or trained.row
    words = {"row": trained.row, "numbers": trained.numbers, "label": label, "short": names.short or label}
    return words | _roles(name, cells) | ({"published": names.published} if names.published else {})


def names_of_rows(recipe: str) -> dict[str, RowNames]:
    """`_rows` of a recipe file: names of its rows in tables and figures. Raises ConfigError."""
    return said_of_rows(recipe, "_rows", RowNames)
