"""Missing requirements stop a workflow before its first job: no job downloads anything."""

from pathlib import Path

from contract_support import edit
from tests_support import call


def nothing_ran(project: Path) -> bool:
    return not list((project / "data").rglob("card.json")) and not list((project / "data").rglob("*.log"))


def test_missing_weights_of_a_training_stop_the_workflow_before_its_first_job(project: Path) -> None:
    edit(project, "tiny.yaml", "network: none, weight: 0.0", "network: vgg, weight: 1.0")
    done = call(project, "snakemake", check=False, TORCH_HOME="nowhere", FAVAE_WEIGHTS="nowhere")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "nothing was started, because these are missing:" in said
    assert "vgg16-397923af.pth missing" in said
    assert "(without it train_autoencoder/natural-f2-favae and 2 more cannot run)" in said
    assert nothing_ran(project)


def test_missing_raw_data_stop_the_workflow_before_its_first_job(project: Path) -> None:
    target = "data/paper/prepare_dataset/ffhq/card.json"
    done = call(project, "snakemake", "--config", "scale=paper", "--", target, check=False, FAVAE_RAW="nowhere")
    assert done.returncode == 1
    assert "raw data nowhere/ffhq for prepare_dataset/ffhq: put the data set there" in done.stdout + done.stderr
    assert nothing_ran(project)


def test_missing_weights_of_a_metric_are_listed_by_plan_but_block_no_job(results: Path) -> None:
    call(results, "snakemake", "--forcerun", "make_tables", TORCH_HOME="nowhere", FAVAE_WEIGHTS="nowhere")
    plan = call(results, "favae", "plan", check=False, TORCH_HOME="nowhere", FAVAE_WEIGHTS="nowhere")
    assert plan.returncode == 1
    assert "a metric is not measured in evaluate_reconstruction/" in plan.stdout


def test_after_a_run_the_plan_shows_what_was_measured(results: Path) -> None:
    plan = call(results, "favae", "plan", "train_autoencoder/natural-f4-favae", check=False).stdout
    assert "measured    0.0" in plan
    assert "of host memory on cpu of" in plan
    total = next(line for line in plan.splitlines() if line.startswith("total"))
    assert "(1 jobs)" in total
    assert "critical path (estimate): " in plan
