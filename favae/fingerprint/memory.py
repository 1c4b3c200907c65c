"""Hashes of the units of the present code, remembered between commands: to find them takes half a second of parsing.

They are those of exactly these sources. The memory can be deleted at any time.
"""

import contextlib
import json
from functools import cache
from pathlib import Path

import favae
from favae.fingerprint.modules import present
from favae.runtime import paths
from favae.runtime.files import read_memory, write_text
from favae.runtime.hashes import canonical_json, sha256_text


def recall() -> None:
    """Take over the remembered hashes if they are those of the present sources."""
    known = read_memory(paths.unit_memory())
    hashes = known.get("hashes")
    if isinstance(hashes, dict) and known.get("sha256") == _checksum(hashes):
        present().hashes.update(hashes)


def keep() -> None:
    """Remember what is known of the present code. Where it cannot be written, nothing is remembered."""
    hashes = present().hashes
    text = json.dumps({"sha256": _checksum(hashes), "hashes": hashes}, indent=0, sort_keys=True) + "\n"
    path = paths.unit_memory()
    with contextlib.suppress(OSError):
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)


def _checksum(hashes: dict[str, str]) -> str:
    """Of the present sources together with what is remembered of them."""
    return sha256_text(_sources() + canonical_json(hashes))


@cache
def _sources() -> str:
    root = Path(favae.__file__).parent
    return sha256_text("\0".join(f"{path}\0{path.read_text(encoding='utf-8')}" for path in sorted(root.rglob("*.py"))))
