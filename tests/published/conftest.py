"""A project with small results of every cell, and what it published."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_support import work_in_copy, write_result
from tests_support import write_params

from favae.jobs.grid import Grid

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
    yield from work_in_copy(made, tmp_path / "project", monkeypatch)


@pytest.fixture
def clone(project: Path) -> Path:
    """What a stranger has: parameters and published results, nothing in `data/`."""
    from favae.sync.publish import publish

    publish("tiny")
    shutil.rmtree(project / "data")
    return project
