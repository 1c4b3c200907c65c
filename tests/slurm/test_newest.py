"""The newest SLURM that Debian has, with accounting: the settings of the site, a GPU, a training that is stopped, requeued and
resumed, and a node that fails."""

import signal
import subprocess
from pathlib import Path

import pytest
from slurm_support import (
    HANGS,
    Cluster,
    Workflow,
    awaits_signal,
    ended,
    hold,
    resume,
    run_with_a_failed_node,
    set_up,
    until,
)

pytestmark = [pytest.mark.slurm, pytest.mark.rare]
CELL = "natural-f4-vqgan"
EVALUATION = f"data/tiny/evaluate_reconstruction/{CELL}-on-natural/card.json"


def test_a_workflow_runs_with_the_settings_of_favae_site_and_a_training_resumes(newest: Cluster, stale: Path) -> None:
    command = ["favae", "site", "--scale", "tiny"]
    said = subprocess.run(
        command, cwd=stale, env=newest.variables, capture_output=True, text=True, timeout=HANGS, check=True
    )
    assert "from what SLURM 2" in said.stdout
    set_up(stale, site=False)
    workflow = Workflow(newest, stale, "--", EVALUATION)
    try:
        process = hold(stale, CELL)
        newest.ask("scancel", "--signal=TERM", newest.jobs(stale)[-1]["JobId"])
        until(lambda: ended(process) or awaits_signal(process, signal.SIGTERM))
        resume(process)
        assert workflow.wait() == 0, workflow.account
    finally:
        workflow.stop()
    training, evaluation = newest.jobs(stale)
    assert (training["JobState"], training["Restarts"], evaluation["JobState"]) == ("COMPLETED", "1", "COMPLETED")
    (log,) = (stale / ".snakemake/slurm_logs").rglob(f"{training['JobId']}.log")
    assert "resuming from step" in log.read_text()


def test_with_accounting_a_failed_node_ends_no_workflow(newest: Cluster, stale: Path) -> None:
    set_up(stale)
    training, evaluation = run_with_a_failed_node(newest, stale, CELL, EVALUATION)
    assert (training["JobState"], training["Restarts"], evaluation["JobState"]) == ("COMPLETED", "1", "COMPLETED")
    assert {job["ExcNodeList"] for job in (training, evaluation)} == {"(null)"}, "gpu1 may be used again"
