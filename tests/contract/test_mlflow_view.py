"""What people see in MLflow: training runs with names, data sets, models, images, tables, links; unfinished ones too."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock
from mlflow import MlflowClient
from PIL import Image
from tests_support import environment, write_params

from favae.jobs.grid import Grid, Job, load_grid
from favae.results.cards import content_key, input_hashes, write_card
from favae.results.run_record import RunRecord, write_run_record
from favae.results.run_record import environment as machine
from favae.runtime import paths
from favae.sync.mlflow import sync

TRAINING = ("train_autoencoder", "natural-f4-favae")
EVALUATION = ("evaluate_reconstruction", "natural-f4-favae-on-natural")


def finish(job: Job, files: dict[str, bytes], summary: dict[str, Any], metrics: dict[str, float]) -> None:
    """A result as its stage leaves it."""
    job.card.parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (job.card.parent / name).write_bytes(content)
    hashes = input_hashes(job)
    key = content_key(job, hashes)
    write_card(job, key, hashes, [job.card.parent / name for name in files], summary)
    facts: dict[str, Any] = {
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:05:05+00:00",
        "seconds": 60.0,
    }
    facts |= {
        "device": "cpu",
        "gpu_seconds": 0.0,
        "resumed": 0,
        "host_bytes": 5 * 10**8,
        "metrics": metrics,
        "artifacts": [],
    }
    scale, stage, cell = job.scale, job.stage.name, job.cell
    write_run_record(RunRecord(scale=scale, stage=stage, cell=cell, key=key, **facts, **machine()))


def png() -> bytes:
    image = Path("image.png")
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(image)
    return image.read_bytes()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Grid]:
    write_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    # MLflow remembers a database by its address, so that a relative one would be that of the test before.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    load_grid.cache_clear()
    grid = load_grid("tiny")
    finish(grid.job("prepare_dataset", "natural"), {}, {"counts": {"train": 80, "val": 8, "test": 8}}, {})
    curves = paths.curves("tiny", *TRAINING)
    curves.parent.mkdir(parents=True)
    pd.DataFrame({"step": [10, 20], "train/l1": [0.5, 0.25]}).to_csv(curves, index=False)
    training = grid.job(*TRAINING)
    finish(
        training,
        {"model.safetensors": b"weights", "samples.png": png()},
        {"steps": 20, "best_step": 20},
        {"val/l1": 0.3},
    )
    reference = grid.job("compute_reference_statistics", grid.job(*EVALUATION).roles["reference"])
    finish(reference, {}, {}, {})
    examples = Path("examples.npz")
    np.savez(
        examples,
        original=np.zeros((2, 8, 8, 3), np.uint8),
        reconstruction=np.ones((2, 8, 8, 3), np.uint8),
        id=["a", "b"],
    )
    finish(
        grid.job(*EVALUATION), {"examples.npz": examples.read_bytes(), "metrics.json": b"{}"}, {}, {"psnr_test": 25.5}
    )
    yield grid
    load_grid.cache_clear()


def runs(client: MlflowClient) -> dict[str, Any]:
    experiment = client.get_experiment_by_name("favae-tiny")
    found = client.search_runs([experiment.experiment_id])
    return {run.info.run_name: client.get_run(run.info.run_id) for run in found}


def local() -> MlflowClient:
    return MlflowClient(paths.mlflow_uri())


def test_the_experiment_is_one_of_model_training_and_says_what_it_is(project: Grid) -> None:
    assert "4 new of 4 runs" in sync("tiny")
    tags = local().get_experiment_by_name("favae-tiny").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "favae audit --scale tiny" in tags["mlflow.note.content"]
    assert "0 new of 4 runs" in sync("tiny")


def test_runs_differ_in_their_first_letters_and_lead_to_one_another(project: Grid) -> None:
    sync("tiny")
    shown = runs(local())
    assert {"natural · prepare", "natural-f4-favae · train", "natural-f4-favae · evaluate on natural"} <= set(shown)
    note = shown["natural-f4-favae · evaluate on natural"].data.tags["mlflow.note.content"]
    training = shown["natural-f4-favae · train"].info.run_id
    assert (
        f"[train_autoencoder/natural-f4-favae](#/experiments/1/runs/{training}?workflowType=machine_learning)" in note
    )
    assert "snakemake --config scale=tiny -- data/tiny/evaluate_reconstruction" in note
    assert (
        "Shown in the table `reconstruction`, an artifact of [all · tables](#/experiments/1/runs?searchFilter=" in note
    )


def test_data_sets_and_models_are_logged_with_their_digests_and_hold_the_metrics(project: Grid) -> None:
    sync("tiny")
    shown, client = runs(local()), local()
    training, evaluation = shown["natural-f4-favae · train"], shown["natural-f4-favae · evaluate on natural"]
    prepared = json.loads(project.job("prepare_dataset", "natural").card.read_text())
    (data,) = training.inputs.dataset_inputs
    assert (data.dataset.name, data.tags[0].value) == ("natural", "training")
    assert prepared["key"].startswith(data.dataset.digest)
    assert json.loads(data.dataset.profile) == {"train": 80, "val": 8, "test": 8}
    (output,) = training.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.name == "natural-f4-favae" and model.source_run_id == training.info.run_id
    assert model.tags["checkpoint"].endswith("natural-f4-favae/model.safetensors")
    assert [entry.model_id for entry in evaluation.inputs.model_inputs] == [output.model_id]
    assert {metric.key: metric.value for metric in model.metrics}["result/psnr_test"] == 25.5


def test_a_text_to_image_training_shows_the_data_set_of_its_codes(project: Grid) -> None:
    for name in (("tokenize_images", "natural-f4-favae"), ("train_cat", "natural-f4-cat")):
        finish(project.job(*name), {}, {"steps": 20, "best_step": 20}, {})
    sync("tiny")
    (data,) = runs(local())["natural-f4-cat · train"].inputs.dataset_inputs
    assert (data.dataset.name, data.tags[0].value) == ("natural", "training")


def samples(cell: str, *times: str) -> None:
    """What a training used at these times."""
    file = paths.usage("tiny", "train_autoencoder", cell)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"time": pd.Timestamp(time).timestamp(), "cpu_utilization_percentage": 10.0 * number}
        for number, time in enumerate(times, 1)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_system_metrics_are_those_of_the_run_over_its_time(project: Grid) -> None:
    within, later = ("2026-01-02T03:04:20+00:00", "2026-01-02T03:05:05+00:00"), "2026-02-02T03:04:05+00:00"
    samples("natural-f4-favae", *within, later)  # the last one is of another run than the one whose result is here
    sync("tiny")
    run = runs(local())["natural-f4-favae · train"].info.run_id
    history = local().get_metric_history(run, "system/cpu_utilization_percentage")
    times = [int(pd.Timestamp(time).timestamp() * 1000) for time in within]
    assert [(point.step, point.timestamp, point.value) for point in history] == [(1, times[0], 10), (2, times[1], 20)]


def test_saved_views_name_columns_that_runs_have(project: Grid) -> None:
    sync("tiny")
    tags = local().get_experiment_by_name("favae-tiny").tags
    columns = {}
    for name in ("trainings", "results"):
        view = json.loads(tags[f"mlflow.sharedViewState.{name}"])
        columns[view["name"]] = json.loads(view["state"])["selectedColumns"]
    assert "metrics.`result/psnr_test`" in columns["Results"]
    assert "metrics.`val/l1`" in columns["Trainings"]
    assert not any("published" in column for shown in columns.values() for column in shown)


def test_a_run_as_an_earlier_version_showed_it_is_replaced(project: Grid) -> None:
    sync("tiny")
    before = {run.info.run_id for run in runs(local()).values()}
    for run in before:
        local().set_tag(run, "view", "0")
    assert "4 new of 4 runs" in sync("tiny")
    found = {run.info.run_id for run in local().search_runs(["1"])}
    assert len(found) == 4 and not before & found


def test_images_have_steps_and_examples_are_artifacts(project: Grid) -> None:
    sync("tiny")
    shown, client = runs(local()), local()
    samples = [entry.path for entry in client.list_artifacts(shown["natural-f4-favae · train"].info.run_id, "images")]
    assert any("samples" in path and "20" in path for path in samples)
    pairs = client.list_artifacts(shown["natural-f4-favae · evaluate on natural"].info.run_id, "images")
    assert len([entry for entry in pairs if entry.path.endswith(".png")]) == 2


def test_a_run_is_found_by_its_whole_key_and_parameters_hold_no_published_number(project: Grid) -> None:
    sync("tiny")
    client = local()
    key = json.loads(project.job(*EVALUATION).card.read_text())["key"]
    (found,) = client.search_runs(["1"], f"tags.key = '{key}'")
    assert found.info.run_name == "natural-f4-favae · evaluate on natural"
    assert all(
        not name.startswith(("published", "tables")) for run in runs(client).values() for name in run.data.params
    )


def unfinished(log: str = "") -> Path:
    state = paths.state_dir("tiny", "train_autoencoder", "natural-f4-vqgan", "s" * 64)
    state.mkdir(parents=True, exist_ok=True)
    rows = [{"step": 5, "train/l1": 0.5}, {"step": 10, "train/l1": 0.25}]
    (state / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (state / "samples.png").write_bytes(png())
    file = paths.log("tiny", "train_autoencoder", "natural-f4-vqgan")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(log)
    return state


def test_a_training_is_shown_while_it_runs_and_says_how_it_ended(project: Grid) -> None:
    state = unfinished()
    samples("natural-f4-vqgan", "2026-01-02T03:04:20+00:00")
    with FileLock(paths.cell_lock("tiny", "train_autoencoder", "natural-f4-vqgan")):
        assert "1 unfinished" in sync("tiny")
        live = runs(local())["natural-f4-vqgan · train"]
        assert live.info.status == "RUNNING"
        assert live.data.metrics["train/l1"] == 0.25
        assert local().list_artifacts(live.info.run_id, "images")
        with (state / "curves.jsonl").open("a") as file:
            file.write(json.dumps({"step": 15, "train/l1": 0.125}) + "\n")
        samples("natural-f4-vqgan", "2026-01-02T03:04:20+00:00", "2026-01-02T03:04:35+00:00")
        sync("tiny")
        again = runs(local())["natural-f4-vqgan · train"]
        assert again.info.run_id == live.info.run_id
        history = local().get_metric_history(live.info.run_id, "train/l1")
        assert [(point.step, point.value) for point in history] == [(5, 0.5), (10, 0.25), (15, 0.125)]
        used = local().get_metric_history(live.info.run_id, "system/cpu_utilization_percentage")
        assert [(point.step, point.value) for point in used] == [(1, 10), (2, 20)]
    sync("tiny")  # its process was killed
    assert runs(local())["natural-f4-vqgan · train"].info.status == "KILLED"
    unfinished("2026-01-02 03:04:05,678 ERROR x: step 12: a loss is not finite: l1 nan\n")
    sync("tiny")
    failed = runs(local())["natural-f4-vqgan · train"]
    assert failed.info.status == "FAILED"
    assert "step 12: a loss is not finite" in failed.data.tags["mlflow.note.content"]


def test_a_training_is_shown_before_its_first_losses_and_where_it_fails_before_them(project: Grid) -> None:
    lock = paths.cell_lock("tiny", "train_autoencoder", "natural-f4-vqgan")
    paths.state_dir("tiny", "train_autoencoder", "natural-f4-vqgan", "s" * 64).mkdir(parents=True)
    with FileLock(lock):
        assert "1 unfinished" in sync("tiny")
        live = runs(local())["natural-f4-vqgan · train"]
        assert live.info.status == "RUNNING" and live.data.params["training.batch_size"]
    sync("tiny")
    assert runs(local())["natural-f4-vqgan · train"].info.status == "KILLED"
    file = paths.log("tiny", "train_autoencoder", "natural-f4-vqgan")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("2026-01-02 03:04:05,678 ERROR x: not enough memory\n")
    sync("tiny")
    failed = runs(local())["natural-f4-vqgan · train"]
    assert failed.info.status == "FAILED" and failed.info.run_id == live.info.run_id
    assert "before its first losses: x: not enough memory" in failed.data.tags["mlflow.note.content"]


def test_a_validation_that_comes_after_the_losses_of_its_step_is_shown(project: Grid) -> None:
    state = unfinished()
    sync("tiny")
    with (state / "curves.jsonl").open("a") as file:
        file.write(json.dumps({"step": 10, "val/l1": 0.125}) + "\n")
    sync("tiny")
    sync("tiny")
    run = runs(local())["natural-f4-vqgan · train"].info.run_id
    shown = {name: local().get_metric_history(run, name) for name in ("train/l1", "val/l1")}
    assert {name: [(p.step, p.value) for p in points] for name, points in shown.items()} == {
        "train/l1": [(5, 0.5), (10, 0.25)],
        "val/l1": [(10, 0.125)],
    }


def test_the_run_of_a_finished_training_takes_the_place_of_the_unfinished_one(project: Grid) -> None:
    unfinished()
    sync("tiny")
    job = project.job("train_autoencoder", "natural-f4-vqgan")
    finish(job, {"model.safetensors": b"others"}, {"steps": 20, "best_step": 20}, {})
    (state,) = paths.cell_lock("tiny", "train_autoencoder", "natural-f4-vqgan").parent.glob("s*")
    (state / "curves.jsonl").unlink()
    sync("tiny")
    assert runs(local())["natural-f4-vqgan · train"].info.status == "FINISHED"
    assert not local().search_runs(["1"], "tags.live = 'yes'")


@pytest.mark.slow
@pytest.mark.rare
def test_a_real_server_and_a_browser_show_the_runs(project: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = ["mlflow", "server", "--workers", "1", "--port", str(port), "--backend-store-uri", "sqlite:///server.db"]
    command += ["--artifacts-destination", "artifacts", "--app-name", "favae"]  # as `make ui` does
    server = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        start_new_session=True,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert "4 new of 4 runs" in sync("tiny")
        assert "natural-f4-favae · train" in runs(MlflowClient(address))
        _look(address)
    finally:
        server.terminate()
        server.wait(60)


def _look(address: str) -> None:
    """The list of runs in a browser, if there is one."""
    import shutil

    webdriver = pytest.importorskip("selenium.webdriver")
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("the server holds; to look at it, install chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1600,1000",
    ):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        from selenium.webdriver.support.ui import WebDriverWait

        def wait_for(words: str) -> None:
            WebDriverWait(browser, 120).until(lambda b: words in b.find_element("tag name", "body").text)

        browser.get(address)
        wait_for("favae-tiny")
        chosen = "return localStorage.getItem('mlflow.workflowType_v1')"
        assert browser.execute_script(chosen) == '"machine_learning"'  # under the key that MLflow reads:
        assert "Model registry" in browser.find_element("tag name", "nav").text
        browser.get(f"{address}/#/experiments/1")
        wait_for("natural-f4-favae · train")
        assert "/runs?workflowType=machine_learning" in browser.current_url
        browser.execute_script("localStorage.setItem('mlflow.workflowType_v1', '\"genai\"')")
        browser.get("about:blank")
        browser.get(address)
        wait_for("favae-tiny")
        assert browser.execute_script(chosen) == '"genai"'  # a choice is kept
        shown = f"{address}/#/experiments/1/runs?workflowType=machine_learning"
        browser.get(shown)
        wait_for("natural-f4-favae · train")
        browser.get("about:blank")
        browser.get(f"{shown}&viewStateShareKey=results")
        wait_for("natural-f4-favae · evaluate on natural")
        assert "natural-f4-favae · train" not in browser.find_element("tag name", "body").text
    finally:
        browser.quit()
