"""Steps shared by the tests of the contract."""

import json
from pathlib import Path

from tests_support import call


def edit(project: Path, file: str, old: str, new: str, after: str = "") -> None:
    """Replace the first `old` in a parameter file, behind the line that starts with `after`."""
    path = project / "params" / file
    text = path.read_text()
    start = f"\n{text}".index(f"\n{after}")
    assert old in text[start:], f"{file}: no {old!r} after {after!r}"
    path.write_text(text[:start] + text[start:].replace(old, new, 1))


def replace(path: Path, content: bytes) -> None:
    """Write a new file: the old one may be a hard link."""
    path.unlink()
    path.write_bytes(content)


def commit(project: Path, message: str) -> None:
    """Commit everything."""
    call(project, "git", "add", "-A")
    call(project, "git", "commit", "-qm", message)


def started(project: Path) -> dict[str, str]:
    """Start time of each result, by stage/cell."""
    records = sorted((project / "data/tiny/runs").rglob("*.json"))
    return {f"{p.parent.name}/{p.stem}": json.loads(p.read_text())["started"] for p in records}
