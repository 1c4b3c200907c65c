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


def change_two_evaluations(project: Path) -> set[str]:
    """Give the evaluations of one model other numbers; returns the two jobs, as stage/cell."""
    with (project / "params/tiny.yaml").open("a") as file:
        file.write("\nsmall: {batch_size: 16, feature_networks: [randconv], lpips_nets: [vgg]}\n")
    group = "- {recipe: evaluation, rows: reconstruction, numbers: evaluation, model: all, dataset: all}"
    vqgan, favae = (group.replace("model: all", f'model: "*-{name}"') for name in ("vqgan", "favae"))
    edit(project, "grid.yaml", group, f"{vqgan.replace('numbers: evaluation', 'numbers: small')}\n    {favae}")
    return {f"evaluate_reconstruction/natural-f4-vqgan-on-{data}" for data in ("natural", "scientific")}


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
