"""Parameter files that no reader should be given: with a merge conflict, or whose merges grow without end."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import YAMLError

from favae.config.errors import ConfigError

_MOST_MERGED = 200_000  # values of one mapping; the largest of the project has some hundreds
_MERGE_OF_SEVERAL = re.compile(r"<<\s*:\s*(#.*\s*)*[\[-]")


def refuse_hostile(folder: Path) -> None:
    """Raise ConfigError with file, line and what to do, of a file in `folder`. What cannot be read at all is left to the reader."""
    for path in sorted(folder.glob("*.yaml")):
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
        except (OSError, UnicodeDecodeError):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith(("<<<<<<< ", ">>>>>>> ")):
                raise ConfigError(
                    f"{path}:{number}: merge conflict; keep one of both sides, and remove the lines <<<<<<<, ======= and "
                    ">>>>>>>"
                )
        if _MERGE_OF_SEVERAL.search(text):
            _refuse_growth(path, text)


class _TooMany(Exception):
    """A mapping with too many merged values; the argument is its line."""


class _Constructor(SafeConstructor):
    """Stops at a mapping that merges of merges (`<<: [*a, *a]`) have made too large: each of them may double it."""

    def flatten_mapping(self, node: Any) -> None:
        super().flatten_mapping(node)
        if len(node.value) > _MOST_MERGED:
            raise _TooMany(node.start_mark.line + 1)


def _refuse_growth(path: Path, text: str) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Constructor
    try:
        yaml.load(text)
    except _TooMany as error:
        raise ConfigError(
            f"{path}:{error.args[0]}: more than {_MOST_MERGED:,} values merged (`<<`); merge fewer blocks of merged blocks"
        ) from None
    except (YAMLError, RecursionError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        return
