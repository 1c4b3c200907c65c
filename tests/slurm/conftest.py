"""Private clusters: one per worker of the test run, without accounting and with it."""

import shutil
from collections.abc import Iterator

import pytest
from slurm_support import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster without accounting."""
    started = Cluster.start()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def accounting() -> Iterator[Cluster]:
    """A cluster with slurmdbd and its database."""
    if not shutil.which("slurmdbd") or not shutil.which("mariadbd"):
        pytest.skip("slurmdbd or mariadbd is not installed (apt-get install slurmdbd mariadb-server)")
    started = Cluster.start("accounting")
    yield started
    started.stop()
