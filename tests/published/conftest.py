"""A project with small results of every cell, and what it published."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_support import write_result
from tests_support import write_params

from favae.jobs.grid import Grid, load_grid

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its results; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    write_params(root)
    shutil.copy(ROOT / "Snakefile", root)
    with contextlib.chdir(root):
        for job in Grid("tiny"):
            write_result(job)
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it as the working directory, outside of any repository."""
    root = Path(shutil.copytree(made, tmp_path / "project"))
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    load_grid.cache_clear()
    yield root
    load_grid.cache_clear()


@pytest.fixture
def clone(project: Path) -> Path:
    """What a stranger has: parameters and published results, nothing in `data/`."""
    from favae.sync.publish import publish

    publish("tiny")
    shutil.rmtree(project / "data")
    return project
