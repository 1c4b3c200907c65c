"""A project with small results of every cell, and what it published."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from published_support import git, work_in_copy, write_result
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
def repository(project: Path) -> Path:
    """The project as a repository with one commit, without its results."""
    (project / ".gitignore").write_text("data/\n")
    (project / "README.md").write_text("words\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "start")
    return project


@pytest.fixture(scope="session")
def shipped(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parameters and published results, without `data/`; not to be changed."""
    from favae.sync.publish import publish

    with pytest.MonkeyPatch.context() as patch:
        for root in work_in_copy(made, tmp_path_factory.mktemp("shipped") / "project", patch):
            publish("tiny")
            shutil.rmtree(root / "data")
    return root


@pytest.fixture
def clone(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a stranger has: parameters and published results, nothing in `data/`."""
    yield from work_in_copy(shipped, tmp_path / "project", monkeypatch)
