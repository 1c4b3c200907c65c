"""The whole DAG, tiny, through the real commands: the results that a user has after `snakemake`."""

import json
import sqlite3
from pathlib import Path

import pandas as pd
from huggingface_hub import ModelCard
from tests_support import call, jobs, planned, planned_by_dvc, states

from favae.results.cards import read_card
from favae.runtime.hashes import sha256_file


def test_every_job_left_a_card_a_run_record_and_a_log(finished: Path) -> None:
    data, expected = finished / "data/tiny", jobs(finished)
    stages = {name.split("/")[0] for name in expected}
    assert {
        f"{p.parent.parent.name}/{p.parent.name}" for s in stages for p in (data / s).glob("*/card.json")
    } == expected
    for folder, ending in (("runs", ".json"), ("logs", ".log")):
        found = (data / folder).glob(f"*/*{ending}")
        assert {f"{path.parent.name}/{path.stem}" for path in found} == expected, folder


def test_nothing_is_left_to_do_for_any_tool(finished: Path) -> None:
    assert planned(finished) == set()
    assert states(finished) == dict.fromkeys(jobs(finished), "ok")
    assert call(finished, "dvc", "status").stdout.strip() == "Data and pipelines are up to date."
    assert "Running stage" not in call(finished, "dvc", "repro", "--dry").stdout


def test_a_run_changes_no_tracked_file_and_adds_only_the_record_of_dvc(finished: Path) -> None:
    changed = set(call(finished, "git", "status", "--porcelain").stdout.splitlines())
    assert changed - {"?? .dvc/.gitignore"} == {"?? dvc.lock"}  # the first is DVC's, and part of the repository


def test_resume_state_of_finished_jobs_is_removed(finished: Path) -> None:
    assert not list((finished / "data/state").rglob("*.pt"))


def test_every_exported_model_has_a_card_with_what_was_measured_of_it(finished: Path) -> None:
    models = list((finished / "data/tiny").glob("*/*/model.safetensors"))
    assert {path.parent.parent.name for path in models} == {"train_autoencoder", "train_cat"}
    for path in models:
        card = ModelCard((path.parent / "README.md").read_text(encoding="utf-8"))
        assert sha256_file(path) in card.text
        assert len(card.data.eval_results) > 1


def test_prepared_data_are_a_few_files(finished: Path) -> None:
    for data_set in ("natural", "scientific"):
        folder = finished / "data/tiny/prepare_dataset" / data_set / "shards"
        names = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
        assert names == {
            "train-00000.npy",
            "val-00000.npy",
            "test-00000.npy",
            "index.csv",
            "captions.csv",
            "bad_images.csv",
            "raw.csv",
        }


def test_tables_hold_what_the_evaluations_measured(finished: Path) -> None:
    table = pd.read_csv(finished / "data/tiny/reports/tables/reconstruction.csv")
    for cell, rows in table.groupby("run"):
        stage, name = cell.split("@")[0].split("/")
        measured = json.loads((finished / "data/tiny" / stage / name / "metrics.json").read_text())
        card = read_card(finished / "data/tiny" / stage / name / "card.json")
        assert cell.split("@")[1] == card.key[:12]
        for row in rows.to_dict("records"):
            value = measured.get(row["metric"], {"value": None})["value"]  # a metric outside the protocol has no value
            assert pd.isna(row["reproduced"]) if value is None else row["reproduced"] == value, row


def test_a_metric_with_missing_weights_has_a_reason_and_no_value(finished: Path) -> None:
    folder = finished / "data/tiny/evaluate_reconstruction/natural-f4-favae-on-natural"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["lpips_vgg_test"]["value"] is None
    assert "vgg16" in metrics["lpips_vgg_test"]["note"]
    assert metrics["psnr_test"]["value"] > 0


def test_figures_and_report_are_made(finished: Path) -> None:
    figures = {p.name for p in (finished / "data/tiny/reports/figures").glob("*.png")}
    assert {"reconstructions.png", "spectrum_error.png", "learning_curves.png", "sigma.png", "samples.png"} <= figures
    call(finished, "snakemake", "--report", "report.html", "--quiet", "all")
    page = (finished / "report.html").read_text()
    assert "reconstructions.png" in page
    assert "Tables" in page


def test_every_run_is_in_mlflow_with_the_facts_for_an_audit(finished: Path) -> None:
    with sqlite3.connect(finished / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status from runs").fetchall()
        assert len(runs) == len(jobs(finished))
        assert {status for _, status in runs} == {"FINISHED"}
        keys = {"stage", "cell", "key", "git_commit", "data", "code_version", "host", "slurm_job", "checkpoint_sha256"}
        for run, _ in runs:
            tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)).fetchall())
            assert keys <= tags.keys()
        curves = database.execute("select count(*) from metrics where key = 'train/l1'").fetchone()[0]
        assert curves == 3 * 3  # three models, three rows each


def test_the_tool_list_does_not_show_a_second_run(finished: Path) -> None:
    done = call(finished, "snakemake")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_one_parameter_of_one_model_reruns_that_training_and_what_depends_on_it(results: Path) -> None:
    recipe = results / "params/table2.yaml"
    text = recipe.read_text()
    start = text.index("\nbaseline:")
    recipe.write_text(text[:start] + text[start:].replace("image_ffl: {weight: 0.0}", "image_ffl: {weight: 0.5}", 1))
    expected = {
        "train_autoencoder/natural-f4-vqgan",
        "evaluate_reconstruction/natural-f4-vqgan-on-natural",
        "evaluate_reconstruction/natural-f4-vqgan-on-scientific",
        "make_tables/all",
        "make_figures/all",
    }
    assert planned(results) == expected
    assert planned_by_dvc(results) == expected
