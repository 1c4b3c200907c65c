"""Short names for labels, as parts of links and macros."""

import re
import unicodedata
from collections.abc import Iterable


def slug(label: str) -> str:
    """Lower-case ASCII letters and digits of a label, joined by hyphens: `FA-VAE, f = 4` is `fa-vae-f-4`."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain)) or "row"


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """A slug for each label; a label whose slug is taken gets a number at its end."""
    taken: dict[str, str] = {}
    for label in labels:
        base = name = slug(label)
        number = 2
        while name in taken.values():
            name, number = f"{base}-{number}", number + 1
        taken[label] = name
    return taken
