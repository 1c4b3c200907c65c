"""Names for tests of the code of results."""

from collections.abc import Callable

SCALE = "ffl-small"
Edit = Callable[[str, str, str], None]  # file of the package, old text, new text
