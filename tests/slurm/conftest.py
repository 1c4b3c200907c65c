"""Private clusters: one per worker of the test run, without accounting and with it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from slurm_support import Cluster
from tests_support import ROOT


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


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of the newest SLURM that Debian has, with accounting, in a root folder that is kept between test runs."""
    root = Path(os.environ.get("FAVAE_SLURM_ROOT", "/var/cache/favae-slurm-newest"))
    if os.getuid() or sys.base_prefix == "/usr":
        pytest.skip("the newest SLURM runs in a chroot: root is needed, and a Python that is not the system's")
    if not root.exists() and not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed, which fetches the newest SLURM (apt-get install mmdebstrap)")
    script, base = ROOT / "tests/slurm/newest.sh", tmp_path_factory.getbasetemp()
    with FileLock(f"{root}.lock"):
        make = ["timeout", "900", script, "make", root]
        made = subprocess.run(make, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the newest SLURM could not be fetched in 15 minutes: {made.stderr.strip().splitlines()[-1:]}")
    shared = {str(path) for path in ("/tmp", sys.prefix, sys.base_prefix, ROOT, base.parent)}
    subprocess.run([script, "mount", root, *sorted(shared)], check=True)
    started = Cluster.start("accounting", CLUSTER_ROOT=str(root))
    yield started
    started.stop()
    subprocess.run([script, "umount", root], check=False)


@pytest.fixture
def stale(results: Path) -> Path:
    """A project with longer trainings, so that one of them can be held during a test."""
    numbers = results / "params/tiny.yaml"
    numbers.write_text(numbers.read_text().replace("length: 6 steps", "length: 40 steps"))
    return results
