"""What a site meets in its first week: a node that fails while accounting is on, a signal that comes too early, a torch
that cannot use the GPU; and a job of last week."""

import subprocess
from pathlib import Path

import pytest
from slurm_support import HANGS, Cluster, Workflow, run_with_a_failed_node, set_up, until

pytestmark = [pytest.mark.slurm, pytest.mark.rare]
CELL = "natural-f4-vqgan"
TRAINING = f"data/tiny/train_autoencoder/{CELL}/card.json"
EVALUATION = f"data/tiny/evaluate_reconstruction/{CELL}-on-natural/card.json"
LOG = f"data/tiny/logs/train_autoencoder/{CELL}.log"


def test_with_accounting_a_failed_node_ends_no_workflow(accounting: Cluster, stale: Path) -> None:
    set_up(stale)
    training, evaluation = run_with_a_failed_node(accounting, stale, CELL, EVALUATION)
    assert (training["JobState"], training["Restarts"], evaluation["JobState"]) == ("COMPLETED", "1", "COMPLETED")
    assert {job["ExcNodeList"] for job in (training, evaluation)} == {"(null)"}, "gpu1 may be used again"
    _found_a_week_later(accounting, training["JobId"])


def test_a_job_whose_node_fails_to_start_it_runs_when_the_node_is_repaired(stale: Path) -> None:
    repaired = stale / "repaired"
    prolog = stale / "prolog.sh"
    prolog.write_text(f'#!/bin/sh\n[ "$SLURMD_NODENAME" != gpu1 ] || [ -e {repaired} ]\n')
    prolog.chmod(0o755)
    cluster = Cluster.start(CLUSTER_EDIT=f"s|^SlurmUser=|Prolog={prolog}\\n&|")
    set_up(stale)
    workflow = Workflow(cluster, stale, "--retries", "0", "--", TRAINING)
    try:
        until(lambda: "Released, 1 of at most 3 times" in workflow.said)
        repaired.touch()
        cluster.bring_back("gpu1")
        assert workflow.wait() == 0, workflow.account
        (job,) = cluster.jobs(stale)
    finally:
        workflow.stop()
        cluster.stop()
    assert job["JobState"] == "COMPLETED"


def _found_a_week_later(accounting: Cluster, number: str) -> None:
    """Stage and cell of a job, asked as the operators' page says, without files of the project."""
    asked = ("--allocations", "--noheader", "--parsable2", "--format=JobID,JobName,SubmitLine")
    lines = accounting.ask("sacct", *asked).splitlines()
    (line,) = (line for line in lines if line.startswith(f"{number}|favae_"))
    assert f"--comment rule_train_autoencoder_wildcards_tiny_{CELL}" in line


def test_a_signal_before_the_first_step_costs_no_attempt(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    (stale / LOG).unlink()
    workflow = Workflow(cluster, stale, "--retries", "0", "--", TRAINING)
    try:
        until(lambda: (stale / LOG).exists() and "SLURM job" in (stale / LOG).read_text(), every=0.02)
        cluster.ask("scancel", "--signal=TERM", cluster.jobs(stale)[-1]["JobId"])
        assert workflow.wait() == 0, workflow.account
    finally:
        workflow.stop()
    (job,) = cluster.jobs(stale)
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "1")


def test_a_torch_that_cannot_use_gpus_is_named_at_the_start_and_stops_a_job(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    workflow = Workflow(cluster, stale, "--", TRAINING, FAVAE_COUNTED_GPUS="")
    assert workflow.wait() == 1, workflow.account
    assert "of this environment is built for the CPU, and jobs ask for GPUs: on a node they would stop" in workflow.said
    assert cluster.jobs(stale) == []
    run = f"--wrap=favae run train_autoencoder {CELL} --scale tiny --log {LOG}"
    sbatch = ["sbatch", "--wait", "--partition=gpu", "--gpus=1", "--mem=3000", "--output=job.log", run]
    done = subprocess.run(
        sbatch, cwd=stale, env=cluster.variables | {"FAVAE_COUNTED_GPUS": ""}, timeout=HANGS, check=False
    )
    said = (stale / LOG).read_text()
    assert done.returncode == 1, said
    assert f"train_autoencoder/{CELL}: this job has GPU 0 of" in said
    assert "this torch is built for the CPU; install a torch for the GPUs of this cluster" in said
