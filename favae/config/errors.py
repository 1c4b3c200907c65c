"""The one exception for bad parameters, and what its messages share."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class ConfigError(ValueError):
    """A parameter file is wrong. The message names file, key, what was found and what was expected."""


class BadKey(ValueError):
    """One wrong value of a block of parameters, by its path in the block; where the block stands is not known here."""

    def __init__(self, keys: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


@contextmanager
def blaming(*keys: str | int) -> Iterator[None]:
    """Turn a ValueError of a constructor into a BadKey of the block of parameters that it was given."""
    try:
        yield
    except BadKey:
        raise
    except ValueError as error:
        raise BadKey(keys, str(error)) from error


def closest(word: str, choices: Iterable[str], most: int = 3) -> str:
    """For an error message: the choices most like `word`, or the first ones where none is."""
    names = list(choices)
    near = get_close_matches(word, names, n=most, cutoff=0.4) or names[:most]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else "none is available"


def say_once(problems: Iterable[tuple[str, str]]) -> list[str]:
    """(cell, problem) to lines: each problem once, with the first cell that has it and how many more do."""
    cells: dict[str, list[str]] = {}
    for cell, problem in problems:
        cells.setdefault(problem, []).append(cell)
    return [
        f"{problem} (in {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for problem, names in cells.items()
    ]
