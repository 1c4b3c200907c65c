"""`workflow/docs/equations.md`: each equation names a function, whose documentation names the equation."""

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "workflow" / "docs" / "equations.md"
ROWS = re.findall(r"^\| (.+?) \| `([\w.]+)` \| (.+?) \|$", PAGE.read_text(), flags=re.MULTILINE)


def resolve(name: str) -> list[Any]:
    """The objects of a dotted name, beginning with its module: module, class, function."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: list[Any] = [importlib.import_module(".".join(parts[:cut]))]
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found.append(getattr(found[-1], part))
        return found
    raise AssertionError(f"{name} cannot be imported")


def test_every_line_of_the_tables_is_read() -> None:
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| (?!equation)", line)]
    assert len(lines) == len(ROWS) > 30


@pytest.mark.parametrize(("equation", "name", "words"), ROWS)
def test_function_exists_and_names_its_source(equation: str, name: str, words: str) -> None:
    found = resolve(name)
    assert isinstance(found[0], ModuleType)
    assert found[-1].__doc__, f"{name} has no docstring"
    said = " ".join(inspect.getdoc(thing) or "" for thing in found)
    assert words.lower() in " ".join(said.split()).lower(), f"{name}: nobody who reads it learns of {words!r}"
