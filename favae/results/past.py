"""Parameters of a job, and the package, at a commit."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from favae.config.errors import ConfigError
from favae.fingerprint.modules import PACKAGE, Package
from favae.jobs.grid import Grid
from favae.runtime import paths


def parameters_at(commit: str, scale: str, stage: str, cell: str) -> dict[str, Any] | None:
    """Merged parameters of a cell at a commit, or None where git has no such commit or this version cannot read its grid."""
    grid = _grid_at(commit, scale)
    return None if grid is None else grid.get((stage, cell))


@lru_cache(maxsize=8)
def _grid_at(commit: str, scale: str) -> dict[tuple[str, str], dict[str, Any]] | None:
    try:
        done = subprocess.run(
            ["git", "archive", commit, "--", paths.PARAMS.as_posix()], capture_output=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(done.stdout), encoding="utf-8") as archive:
            archive.extractall(folder, filter="data")
        with contextlib.chdir(Path(folder)):
            try:
                return {key: job.parameters for key, job in Grid(scale).jobs.items()}
            except (ConfigError, KeyError, TypeError, AttributeError):
                return None  # the commit has another format of the grid


@lru_cache(maxsize=64)  # as many as a scale has commits
def package_at(commit: str) -> Package | None:
    """The code of a commit; None where git has no such commit."""
    try:
        done = subprocess.run(["git", "archive", commit, "--", PACKAGE], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    with tarfile.open(fileobj=io.BytesIO(done.stdout), encoding="utf-8") as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.name.endswith(".py")}
        texts = {name.removeprefix(f"{PACKAGE}/"): file.read().decode() for name, file in files.items() if file}
    return Package.of_texts(texts)
