"""Snakemake itself is killed, interrupted, or waits for a job that can never start; and `dvc repro` with the same profile."""

import signal
import subprocess
from pathlib import Path

import pytest
from contract_support import change_two_evaluations
from slurm_support import HANGS, Cluster, Workflow, ended, hold, reached, set_up, until
from tests_support import call, planned

from favae.results.run_record import RunRecord

pytestmark = pytest.mark.slurm
FIRST = "natural-f4-vqgan"


def card(cell: str) -> str:
    return f"data/tiny/train_autoencoder/{cell}/card.json"


def test_after_kill_9_the_next_workflow_uses_the_result_of_the_surviving_job(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    killed = Workflow(cluster, stale, "--", card(FIRST))
    process = hold(stale, FIRST)
    killed.process.kill()
    killed.process.wait()
    orphan = cluster.jobs(stale)[-1]["JobId"]
    second = Workflow(cluster, stale, "--", card(FIRST))
    try:
        until(lambda: int(cluster.jobs(stale)[-1]["Restarts"]) > 0)
        waiting = cluster.jobs(stale)[-1]
        (log,) = (stale / ".snakemake/slurm_logs").rglob(f"{waiting['JobId']}.log")
        until(lambda: "another process is working on this cell" in log.read_text())
        process.resume()
        until(lambda: next(j for j in cluster.jobs(stale) if j["JobId"] == orphan)["JobState"] == "COMPLETED")
        assert second.wait() == 0, second.account
    finally:
        second.stop()
    assert "restored a result that was finished before" in log.read_text()
    record = RunRecord.model_validate_json((stale / f"data/tiny/runs/train_autoencoder/{FIRST}.json").read_text())
    assert record.slurm_job == orphan


def test_ctrl_c_cancels_the_jobs_that_it_started(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    workflow = Workflow(cluster, stale, "--", card(FIRST))
    process = hold(stale, FIRST)
    workflow.process.send_signal(signal.SIGINT)
    until(lambda: cluster.jobs(stale)[-1]["JobState"] == "CANCELLED")
    assert workflow.wait() == 1
    until(lambda: ended(process))
    assert [job["JobState"] for job in cluster.jobs(stale)] == ["CANCELLED"]
    assert reached(stale, FIRST) > 0, "resume state is kept"


def test_a_job_that_can_no_longer_start_is_reported(cluster: Cluster, stale: Path) -> None:
    set_up(stale)
    cluster.close("gpu")
    workflow = Workflow(cluster, stale, "--", card(FIRST))
    try:
        until(lambda: cluster.job(stale, FIRST))
        cluster.ask("scontrol", "update", "partitionname=gpu", "maxtime=1", "state=up")  # after it was submitted
        until(lambda: "will not start: PartitionTimeLimit" in workflow.said)
        assert "request less in the profile" in workflow.said
    finally:
        cluster.ask("scontrol", "update", "partitionname=gpu", "maxtime=1-0", "state=up")
        workflow.stop()


def test_dvc_repro_runs_the_stale_cells_of_a_stage_together(cluster: Cluster, results: Path) -> None:
    set_up(results)
    stale = change_two_evaluations(results)
    assert planned(results) == stale | {"make_tables/all", "make_figures/all"}

    def jobs() -> list[dict[str, str]]:
        return [j for j in cluster.jobs(results) if j["Comment"].startswith("rule_evaluate_reconstruction")]

    cluster.close("gpu")  # until all are in the queue: no job waits for another to end
    environment = cluster.variables | {"SNAKEMAKE_PROFILE": "slurm"}
    with (results.parent / "dvc.log").open("w+") as log:
        repro = subprocess.Popen(["dvc", "repro"], cwd=results, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: repro.poll() is not None or len(jobs()) == len(stale))
            cluster.open("gpu")
            assert repro.wait(timeout=HANGS) == 0, Path(log.name).read_text()
        finally:
            cluster.open("gpu")
            repro.kill()
    assert len(jobs()) == len(stale), "each once: DVC's later asking put back what was there"
    assert call(results, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert planned(results) == set()
