"""Short jobs after one model are one job of SLURM, and run one after the other in it."""

import re
from pathlib import Path

import pytest
from contract_support import edit
from slurm_support import Cluster, Workflow, set_up
from tests_support import call, planned

from favae.results.run_record import RunRecord

pytestmark = [pytest.mark.slurm, pytest.mark.rare]
MODELS = ("natural-f2-favae", "natural-f4-favae", "natural-f4-vqgan")


@pytest.fixture
def stale(results: Path) -> Path:
    """A project whose six evaluations must run again, two of each of three models."""
    edit(results, "evaluation.yaml", "quantize: uint8", "quantize: none", after="reconstruction:")
    evaluations = {job for job in planned(results) if job.startswith("evaluate_reconstruction")}
    assert len(evaluations) == 2 * len(MODELS)
    return results


def run(cluster: Cluster, project: Path) -> list[dict[str, str]]:
    """The jobs of SLURM that make all stale results."""
    workflow = Workflow(cluster, project)
    assert workflow.wait() == 0, workflow.account
    assert call(project, "favae", "status").returncode == 0
    return cluster.jobs(project)


def test_six_evaluations_of_three_models_are_three_jobs(cluster: Cluster, stale: Path) -> None:
    set_up(stale, gpu=", limit: 300")
    jobs = run(cluster, stale)
    comments = sorted(job["Comment"] for job in jobs)
    assert comments == [f"rule_after-{model}_evaluate_reconstruction" for model in MODELS]
    for job in jobs:
        assert (job["JobState"], job["NumCPUs"]) == ("COMPLETED", "1"), "they run one after the other"
        assert re.fullmatch(r"gres[:/]gpu:1", job["TresPerJob"]), "and share one GPU"
        assert job["TimeLimit"] == "02:00:00", "their times are added"
    for model, job in zip(MODELS, sorted(jobs, key=lambda job: job["Comment"]), strict=True):
        records = list((stale / "data/tiny/runs/evaluate_reconstruction").glob(f"{model}-on-*.json"))
        assert {RunRecord.model_validate_json(path.read_bytes()).slurm_job for path in records} == {job["JobId"]}
        assert len(records) == 2
