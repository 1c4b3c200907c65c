"""The one exception for bad parameters, and what its messages share."""

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigError(ValueError):
    """A parameter file is wrong. The message names file, key, what was found and what was expected."""


def closest(word: str, choices: Iterable[str], most: int = 3) -> str:
    """For an error message: the choices most like `word`, or the first ones where none is."""
    names = list(choices)
    near = get_close_matches(word, names, n=most, cutoff=0.4) or names[:most]
    return f"did you mean {' or '.join(map(repr, near))}?" if near else "none is available"
