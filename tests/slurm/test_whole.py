"""The literal `snakemake --profile slurm` on a cluster with accounting: the whole DAG, with a cancelled job and
unavailable daemons."""

import json
import sqlite3
from itertools import combinations
from pathlib import Path

import pytest
from slurm_support import Cluster, Workflow, set_up, until
from tests_support import call, copy_project

from favae.jobs.grid import Grid, load_grid
from favae.jobs.resources import resources_of
from favae.results.cards import read_card

pytestmark = pytest.mark.slurm
LIGHT = ("make_tables", "make_figures")
CANCELLED = "natural-f2-favae"


@pytest.fixture(scope="module")
def run(accounting: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """Everything has run. Meanwhile one training was cancelled; slurmdbd, then slurmctld, were unavailable for 20
    seconds each."""
    project = copy_project(tmp_path_factory.mktemp("whole") / "project")
    set_up(project)
    nowhere = "http://127.0.0.1:9"  # a compute node without internet: every download fails
    workflow = Workflow(accounting, project, http_proxy=nowhere, https_proxy=nowhere)
    job = until(lambda: accounting.job(project, CANCELLED))
    accounting.ask("scancel", job["JobId"])
    accounting.take_away("slurmdbd")
    accounting.take_away("slurmctld")
    assert workflow.wait() == 0, workflow.account
    return workflow


@pytest.fixture
def jobs(run: Workflow) -> dict[str, dict[str, str]]:
    """Jobs that completed, by stage/cell."""
    done = [j for j in run.cluster.jobs(run.project) if j["JobState"] == "COMPLETED"]
    names = [j["Comment"].removeprefix("rule_").split("_wildcards_tiny_") for j in done]
    return {"/".join(name): job for name, job in zip(names, done, strict=True)}


def test_every_job_except_the_light_ones_was_submitted_by_sbatch(
    run: Workflow, jobs: dict[str, dict[str, str]]
) -> None:
    assert call(run.project, "favae", "status").returncode == 0
    expected = {f"{stage}/{cell}" for stage, cell in grid(run).jobs if stage not in LIGHT}
    assert jobs.keys() == expected


def grid(run: Workflow) -> Grid:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(run.project)
        return Grid("tiny")


def test_each_job_got_the_resources_that_its_parameters_need(
    run: Workflow, jobs: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.project)
    load_grid.cache_clear()
    for name, job in jobs.items():
        asked = resources_of(load_grid("tiny").job(*name.split("/")))
        attempt = 2 if name == f"train_autoencoder/{CANCELLED}" else 1
        given = dict(pair.split("=") for pair in job["TRES"].split(","))
        assert job["Partition"] == ("gpu" if asked.gpu else "cpu"), name
        assert int(given.get("gres/gpu", 0)) == asked.gpu, name
        assert int(given["cpu"]) == asked.threads, name
        assert job["MinMemoryNode"] in (f"{asked.mem_mb * attempt}M", f"{asked.mem_mb * attempt / 1000:g}G"), name
        assert job["TimeLimit"] == clock(asked.grown(attempt).runtime), name


def clock(minutes: int) -> str:
    days, rest = divmod(minutes, 24 * 60)
    return (f"{days}-" if days else "") + f"{rest // 60:02}:{rest % 60:02}:00"


def test_two_jobs_with_a_gpu_at_a_time_and_each_sees_its_own(run: Workflow, jobs: dict[str, dict[str, str]]) -> None:
    seen = {}
    for name, job in jobs.items():
        if job["Partition"] == "gpu":
            log = (run.project / "data/tiny/logs" / f"{name}.log").read_text()
            devices = log.split("GPUs ")[1].split()[0]
            assert devices in ("0", "1"), name
            seen[name] = (job["StartTime"], job["EndTime"], devices)
    together = [(a, b) for a, b in combinations(seen.values(), 2) if a[0] < b[1] and b[0] < a[1]]
    assert together
    assert all(a[2] != b[2] for a, b in together)


def test_logs_of_all_jobs_are_kept(run: Workflow, jobs: dict[str, dict[str, str]]) -> None:
    kept = {path.stem for path in (run.project / ".snakemake/slurm_logs").rglob("*.log")}
    assert {job["JobId"] for job in jobs.values()} <= kept


def test_run_records_and_mlflow_name_the_slurm_job(run: Workflow, jobs: dict[str, dict[str, str]]) -> None:
    with sqlite3.connect(run.project / "mlflow.db") as database:
        tags = database.execute("select run_uuid, key, value from tags").fetchall()
    by_run: dict[str, dict[str, str]] = {}
    for identifier, key, value in tags:
        by_run.setdefault(identifier, {})[key] = value
    shown = {f"{t['stage']}/{t['cell']}": t["slurm_job"] for t in by_run.values()}
    for name, job in jobs.items():
        record = json.loads((run.project / "data/tiny/runs" / f"{name}.json").read_text())
        assert record["slurm_job"] == job["JobId"] == shown[name]


def test_only_the_cancelled_job_was_tried_again(run: Workflow) -> None:
    tries = [
        j["Comment"].split("_tiny_")[1]
        for j in run.cluster.jobs(run.project)
        if j["Comment"].startswith("rule_train_autoencoder")
    ]
    assert sorted(tries) == sorted(["natural-f4-favae", "natural-f4-vqgan", CANCELLED, CANCELLED])
    assert "SLURM status is: 'CANCELLED'" in run.said


def test_results_are_those_of_a_run_on_one_machine(run: Workflow, finished: Path) -> None:
    for card in (finished / "data/tiny").glob("train_*/*/card.json"):
        assert read_card(run.project / card.relative_to(finished)) == read_card(card)
