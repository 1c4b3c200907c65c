"""No command of a user contacts anything: neither a job, nor DVC, MLflow or Snakemake, nor `favae` however it is started."""

import shutil
import sys
from pathlib import Path

import pytest
from network_support import can_watch, reached_by, run_watched

COMMANDS = (
    "snakemake -n",
    "favae check",
    "favae plan",
    "favae status --full",
    "favae why train_autoencoder/natural-f4-favae",
    "favae mlflow-sync",
    "favae audit",
    "favae adopt",
    "favae lock",
    "favae prune",
    "dvc status --quiet",
    "dvc repro --single-item --force make_tables@all",
    "favae publish tiny",
    "favae compare tiny",
    "favae same",
    "favae graph --check",
    "favae watch --once",
    "favae page tiny",
    "favae study tiny",
    "favae site",
    "favae bench --quick quantizer",
    "favae reconstruct samples.png --model data/tiny/train_autoencoder/natural-f4-favae --out out",
    f"{sys.executable} -c 'import favae.cli; favae.cli.entry()' mlflow-sync",
)
MAY_FIND_PROBLEMS = ("favae plan", "favae audit", "favae publish tiny", "favae compare tiny", "favae site")


@pytest.mark.slow
@pytest.mark.rare
def test_no_command_of_a_user_tries_to_reach_a_network(finished: Path, results: Path, tmp_path: Path) -> None:
    if not can_watch():
        pytest.skip("this machine does not allow a network namespace (unshare -rn)")
    assert reached_by(finished.parent / "network") == "", "a job of the DAG"
    shutil.copy(results / "data/tiny/train_autoencoder/natural-f4-favae/samples.png", results)
    for number, command in enumerate(COMMANDS):
        done = run_watched(results, command, tmp_path / str(number))
        assert "Traceback" not in done.stderr, f"{command}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0 or command in MAY_FIND_PROBLEMS, f"{command}\n{done.stdout}\n{done.stderr}"
        said = reached_by(tmp_path / str(number))
        assert said == "", f"{command}\n{said}"
