"""Where commands are found."""

import os
from pathlib import Path


def find_first(*folders: Path) -> None:
    """Let commands be found in `folders` before all others, by this process and those that it starts."""
    os.environ["PATH"] = os.pathsep.join([*map(str, folders), os.environ["PATH"]])
