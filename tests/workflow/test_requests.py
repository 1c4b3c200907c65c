"""What a job asks of SLURM: its resources, with the settings of a site from a file that git ignores."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests_support import ROOT

from favae.config import ConfigError
from favae.config.load import read_yaml
from favae.config.site import Site
from favae.jobs.grid import Job, load_grid
from favae.jobs.requests import TOGETHER, group_of, read_site, request_names, request_of, signal_seconds
from favae.jobs.resources import hours_ahead, resources_of
from favae.jobs.stages import STAGES
from favae.results.git import working_tree


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Job]:
    monkeypatch.chdir(ROOT)
    grid = load_grid("paper")
    return {stage: grid.job(stage, cells[0]) for stage in STAGES if (cells := grid.cells(stage))}


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_training_asks_for_the_same_time_at_each_attempt_and_for_more_memory(
    jobs: dict[str, Job], attempt: int
) -> None:
    job = jobs["train_autoencoder"]
    first, later = request_of(job, 1, Site()), request_of(job, attempt, Site())
    assert later["runtime"] == first["runtime"]
    assert later["mem_mb"] == attempt * int(first["mem_mb"])


def test_other_jobs_ask_for_more_time_up_to_a_day_or_the_limit_of_the_site(jobs: dict[str, Job]) -> None:
    job = jobs["prepare_dataset"]
    site = Site.model_validate({"cpu": {"limit": 600}})
    assert [request_of(job, n, Site())["runtime"] for n in (1, 2, 3, 9)] == [480, 960, 1440, 1440]
    assert [request_of(job, n, site)["runtime"] for n in (1, 2, 3)] == [480, 600, 600]


def test_a_job_gets_the_settings_of_its_kind(jobs: dict[str, Job]) -> None:
    words = {"partition": "a", "account": "lab", "qos": "long", "constraint": "h100", "limit": 90}
    site = Site.model_validate({"gpu": words, "cpu": {"partition": "b", "qos": "short"}})
    asked = request_of(jobs["train_autoencoder"], 1, site)
    assert {
        "slurm_partition": "a",
        "slurm_account": "lab",
        "qos": "long",
        "constraint": "h100",
        "runtime": 90,
    }.items() <= asked.items()
    cpu = request_of(jobs["prepare_dataset"], 1, site)
    assert (cpu["slurm_partition"], cpu["qos"], "slurm_account" in cpu, "gpu" in cpu) == ("b", "short", False, False)


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ({}, {"gpu": 1}),
        ({"type": "a100"}, {"gpu": 1, "gpu_model": "a100"}),
        ({"option": "gres"}, {"gres": "gpu:1"}),
        ({"option": "gres", "type": "a100"}, {"gres": "gpu:a100:1"}),
    ],
)
def test_gpus_are_asked_for_in_the_way_of_the_site(
    jobs: dict[str, Job], words: dict[str, str], asked: dict[str, object]
) -> None:
    found = request_of(jobs["train_cat"], 1, Site.model_validate({"gpu": words}))
    assert {name: found[name] for name in found if name.startswith("g")} == asked


def test_memory_can_be_asked_for_per_cpu(jobs: dict[str, Job]) -> None:
    job = jobs["prepare_dataset"]
    found = request_of(job, 1, Site.model_validate({"cpu": {"memory": "per cpu"}}))
    assert "mem_mb" not in found
    assert int(found["mem_mb_per_cpu"]) * resources_of(job).threads >= resources_of(job).mem_mb


def test_rules_name_all_that_their_jobs_ask_for(jobs: dict[str, Job]) -> None:
    site = Site.model_validate({"gpu": {"partition": "gpu"}})
    for job in jobs.values():
        assert set(request_names(job.stage, site)) == set(request_of(job, 1, site))


def test_only_trainings_are_told_to_save_and_in_a_short_slot_later(jobs: dict[str, Job]) -> None:
    told = {stage for stage, job in jobs.items() if "slurm_extra" in request_of(job, 1, Site())}
    assert told == {"train_autoencoder", "train_cat"}
    assert (
        request_of(jobs["train_cat"], 1, Site.model_validate({"gpu": {"limit": 5}}))["slurm_extra"]
        == "--signal=TERM@75"
    )
    assert [signal_seconds(minutes) for minutes in (1, 5, 20, 1440)] == [15, 75, 300, 300]


def test_the_settings_of_the_site_are_read_and_mistakes_in_them_are_named(own_parameters: Path) -> None:
    assert read_site() == Site()
    file = own_parameters / "workflow/profiles/slurm/site.yaml"
    file.parent.mkdir(parents=True)
    try:
        file.write_text("gpu: {partition: gpu}\n")
        assert read_site().gpu.partition == "gpu"
        file.write_text("gpu: {partitions: gpu, limit: 1-00}\n")
        with pytest.raises(ConfigError, match=r"site.yaml:1: gpu.partitions: unknown key; did you mean 'partition'"):
            read_site()
    finally:
        file.unlink()


def test_no_setting_of_a_site_makes_the_code_dirty(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "slurm/site.yaml").write_text("gpu: {partition: gpu}\n")
    profile = project / "workflow/profiles/slurm/config.yaml"
    profile.write_text(profile.read_text().replace("jobs: 100", "jobs: 20"))
    (project / "report.html").write_text("left by snakemake --report\n")
    assert working_tree()["dirty"] == []
    ignored = subprocess.run(
        ["git", "check-ignore", "slurm/../workflow/profiles/slurm/site.yaml"], capture_output=True, check=False
    )
    assert ignored.returncode == 0


def test_the_profile_says_nothing_that_differs_between_sites() -> None:
    profile = read_yaml(ROOT / "slurm/config.yaml")
    assert "set-resources" not in profile
    assert set(profile["default-resources"]) == {"runtime", "mem_mb"}


@pytest.mark.usefixtures("jobs")
def test_short_jobs_of_one_model_share_a_job_where_the_limit_has_room_for_all() -> None:
    grid = load_grid("paper")
    evaluation = grid.job("evaluate_reconstruction", grid.cells("evaluate_reconstruction")[0])
    long, short = (Site.model_validate({"gpu": {"limit": limit}}) for limit in (300, 200))
    assert group_of(evaluation, long) == f"after-{evaluation.roles['model']}"
    assert [group_of(evaluation, site) for site in (short, Site())] == [None, None]
    assert group_of(grid.job("train_autoencoder", evaluation.roles["model"]), long) is None
    assert TOGETHER * max(int(request_of(evaluation, n, long)["runtime"]) for n in (1, 2, 3)) <= 300
    profile = read_yaml(ROOT / "slurm/config.yaml")
    assert profile["group-components"] == [f"after={TOGETHER}"]


@pytest.mark.slow
@pytest.mark.usefixtures("jobs")
def test_the_operators_page_says_how_many_jobs_are_submitted() -> None:
    site = Site.model_validate({kind: {"limit": 24 * 60} for kind in ("cpu", "gpu")})
    rows = re.findall(
        r"^\| `([\w-]+)`[^|]*\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$",
        (ROOT / "workflow/docs/slurm.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 6
    named = (ROOT / "tests/jobs/cells.txt").read_text().split()
    for scale, *said in rows:
        own = {name.partition("/")[2] for name in named if name.startswith(f"{scale}/")}
        grid = [job for job in load_grid(scale) if job.name in own or not own]  # not what a user adds
        sent = [job for job in grid if not job.stage.local]
        groups = Counter(group_of(job, site) for job in sent)
        grouped = groups.pop(None) + sum(-(-size // TOGETHER) for size in groups.values())
        trainings = sum(job.stage.resumes for job in grid)
        assert [int(number) for number in said] == [len(grid), len(sent), grouped, trainings], scale


@pytest.mark.parametrize("scale", ["demo", "paper", "faces"])
def test_a_job_has_the_hours_of_the_longest_chain_behind_it(scale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    jobs = {job.card: job for job in load_grid(scale)}
    behind: dict[Path, float] = dict.fromkeys(jobs, 0.0)
    for job in reversed(jobs.values()):  # readers come first
        assert (hours_ahead(job) > behind[job.card]) == (resources_of(job).gpu > 0)
        for card in job.inputs.values():
            behind[card] = max(behind[card], hours_ahead(job))


def test_the_model_that_cat_waits_for_is_trained_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    grid = load_grid("demo")
    trainings = [grid.job("train_autoencoder", cell) for cell in grid.cells("train_autoencoder")]
    assert max(trainings, key=hours_ahead).card in grid.job("tokenize_images", "natural-f4-favae").inputs.values()
