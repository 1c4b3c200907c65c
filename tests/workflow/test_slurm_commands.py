"""`sacct` and `sbatch` of the workflow, in front of commands that answer as SLURM's do when something is wrong; and the profile."""

import subprocess
from pathlib import Path

import pytest
import yaml
from tests_support import ROOT

from favae.config.grid import STAGES, load_grid
from favae.config.resources import resources_of

QUERY = ("-X", "--parsable2", "--clusters", "all", "--noheader", "--format=JobIdRaw,State", "--name", "run")
DISABLED = 'echo "Slurm accounting storage is disabled" >&2; exit 1'
AWAY = 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1'


@pytest.fixture
def ask(tmp_path: Path):
    """Run a command of workflow/slurm-bin in front of fakes: `ask("sacct", arguments, sacct="...", squeue="...")`."""

    def run(command: str, *arguments: str, **fakes: str) -> subprocess.CompletedProcess[str]:
        for name, body in fakes.items():
            fake = tmp_path / name
            fake.write_text(f"#!/bin/bash\n{body}\n")
            fake.chmod(0o755)
        ours = ROOT / "workflow/slurm-bin"
        environment = {"PATH": f"{ours}:{tmp_path}:/usr/bin:/bin", "HERE": str(tmp_path)}
        return subprocess.run([command, *arguments], env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_states_come_from_accounting_without_the_name_of_who_cancelled(ask) -> None:
    done = ask("sacct", *QUERY, sacct=r'printf "7|CANCELLED by 1000\n8|RUNNING\n"', squeue="exit 9")
    assert (done.returncode, done.stdout) == (0, "7|CANCELLED\n8|RUNNING\n")


def test_without_accounting_they_come_from_squeue(ask) -> None:
    done = ask("sacct", *QUERY, sacct=DISABLED, squeue='echo "$*" >$HERE/asked; echo "7|COMPLETED"')
    assert (done.returncode, done.stdout) == (0, "7|COMPLETED\n")


def test_while_both_are_away_nothing_is_said_and_nothing_fails(ask) -> None:
    done = ask("sacct", *QUERY, sacct=AWAY, squeue=AWAY)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_reason_is_asked_of_squeue_once_where_there_is_no_accounting(ask) -> None:
    fakes = {"sacct": DISABLED, "squeue": "echo NonZeroExitCode"}
    assert ask("sacct", "-j", "7.0", "--format=Reason", "--noheader", **fakes).stdout == "NonZeroExitCode\n"
    later = ask("sacct", "-j", "7.1", "--format=Reason", "--noheader", **fakes)
    assert (later.returncode, later.stdout) == (0, "")


def test_what_else_is_asked_of_sacct_is_answered_by_the_real_one(ask) -> None:
    done = ask("sacct", "-j", "7", "-o", "nodelist", sacct='echo "real $*"; exit 3')
    assert (done.returncode, done.stdout) == (3, "real -j 7 -o nodelist\n")


def test_a_submission_waits_for_the_controller(ask, tmp_path: Path) -> None:
    body = f"[ -e $HERE/back ] && {{ echo 12; exit 0; }}; touch $HERE/back; {AWAY}"
    done = ask("sbatch", "--parsable", "--wrap=true", sbatch=body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "12\n", "")


def test_a_submission_that_is_refused_says_why_at_once(ask) -> None:
    refusal = "sbatch: error: Batch job submission failed: Requested node configuration is not available"
    done = ask("sbatch", "--parsable", "--wrap=true", sbatch=f'echo "{refusal}" >&2; exit 1')
    assert (done.returncode, done.stdout, done.stderr.strip()) == (1, "", refusal)


def test_jobs_append_to_their_log_and_may_put_themselves_back(ask) -> None:
    done = ask("sbatch", "--parsable", sbatch='echo "$FAVAE_REQUEUE $*"')
    assert done.stdout == "allowed --open-mode=append --parsable\n"


def test_the_profile_names_every_rule_that_asks_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    grid = load_grid("paper")
    with_gpu = {stage for stage in STAGES for cell in grid.cells(stage) if resources_of(grid.job(stage, cell)).gpu}
    assert set(profile["set-resources"]) == with_gpu
    assert all("TERM@" in words["slurm_extra"] for words in profile["set-resources"].values())


def test_memory_and_time_grow_with_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = load_grid("paper")
    first = resources_of(grid.job("train_autoencoder", "celebahq-f16-r12"))
    second = first.grown(2)
    assert (second.mem_mb, second.runtime) == (2 * first.mem_mb, 2 * first.runtime)
    assert (second.gpu, second.threads) == (first.gpu, first.threads)
