"""Shared by all tests: single-threaded torch, the real data if available, and markers that explain their skips."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"  # also in processes that are forked from one that has imported torch
os.environ.pop("FAVAE_RAW", None)  # a user's own data sets: tests make theirs


def pytest_configure() -> None:
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


# Tests that wait for clocks and other programs start first, so that the others run meanwhile.
_FIRST = ("slurm", "contract", "workflow")


def _order(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return _FIRST.index(folder) if folder in _FIRST else len(_FIRST)


@pytest.hookimpl(tryfirst=True)  # before pytest chooses by marker
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    import torch

    items.sort(key=_order)
    for item in items:
        if "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    no_gpu = pytest.mark.skip(reason="no CUDA device on this machine")
    no_slurm = pytest.mark.skip(
        reason="slurmctld is not installed (apt-get install slurmctld slurmd slurm-client munge)"
    )
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(no_gpu)
        if item.get_closest_marker("slurm") and not shutil.which("slurmctld"):
            item.add_marker(no_slurm)


@pytest.fixture
def test_data() -> Path:
    """The folder of real data sets, or a skip with the reason."""
    folder = os.environ.get("FAVAE_TEST_DATA")
    if not folder:
        pytest.skip("FAVAE_TEST_DATA is not set: no real data sets here")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def _own_parameters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests_support import write_params

    folder = tmp_path_factory.mktemp("parameters")
    write_params(folder)
    return folder


@pytest.fixture
def own_parameters(_own_parameters: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the parameter files of the tests as the working directory. Tests must not change it."""
    from favae.jobs.grid import load_grid

    monkeypatch.chdir(_own_parameters)
    load_grid.cache_clear()
    yield _own_parameters
    load_grid.cache_clear()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the whole tiny DAG has run once. Do not change it: copy it with `results`.

    Its folder `../network` keeps what the jobs tried to reach, where the machine allows to watch this.
    """
    from network_support import can_watch, run_watched
    from tests_support import call, copy_project

    # All workers of a test run share this project.
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = base / "finished" / "project", base / "finished" / "done"
    with FileLock(base / "finished.lock"):
        if not done.exists():
            shutil.rmtree(folder.parent, ignore_errors=True)
            copy_project(folder)
            if can_watch():
                made = run_watched(folder, "snakemake --cores 2", folder.parent / "network")
                assert made.returncode == 0, made.stdout + made.stderr
            else:
                call(folder, "snakemake", "--cores", "2", timeout=900)
            done.touch()
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A throw-away copy of the project's workflow and parameters, under git and DVC, without results."""
    from tests_support import copy_project

    return copy_project(tmp_path / "project")


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    """A throw-away copy of a project in which everything has run, with the times of files."""
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


@pytest.fixture
def here(results: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of a finished project as the working directory of this process."""
    from favae.jobs.grid import load_grid

    monkeypatch.chdir(results)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{results / 'mlflow.db'}")
    load_grid.cache_clear()
    yield results
    load_grid.cache_clear()
