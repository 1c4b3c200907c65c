"""Exceptions for invalid parameters, and helpers for their messages."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


class ConfigError(ValueError):
    """Invalid parameters. The message names file, key, what was found and what was expected."""


class BadKey(ValueError):
    """One invalid value, given by its path (`keys`) in a block of parameters. The caller adds file and line."""

    def __init__(self, keys: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.keys = keys


@contextmanager
def blaming(*keys: str | int) -> Iterator[None]:
    """Context manager: turn a ValueError of a constructor into a BadKey for the block `keys`."""
    try:
        yield
    except BadKey:
        raise
    except ValueError as error:
        raise BadKey(keys, str(error)) from error


def closest(word: object, choices: Iterable[str], most: int = 3) -> str:
    """End of an error message: the `most` choices that are most similar to `word`, or the first ones if none is similar."""
    names = list(choices)
    near = get_close_matches(str(word), names, n=most, cutoff=0.4)
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"available, for instance: {', '.join(map(repr, names[:most]))}" if names else "none is available"


def say_once(problems: Iterable[tuple[str, str]]) -> list[str]:
    """One line per distinct problem of (cell, problem) pairs, with the first cell that has it and the number of others."""
    cells: dict[str, list[str]] = {}
    for cell, problem in problems:
        cells.setdefault(problem, []).append(cell)
    return [
        f"{problem} (in {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        for problem, names in cells.items()
    ]
