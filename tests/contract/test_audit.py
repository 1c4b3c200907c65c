"""Every number leads to its run, data, parameters and code; everything that breaks the chain is found and named."""

import json
from pathlib import Path

import pandas as pd
import pytest
from contract_support import edit, replace
from mlflow import MlflowClient
from tests_support import call

from favae.results.cards import read_card
from favae.sync.audit import Audit, audit, describe, find

MODEL = "train_autoencoder/natural-f2-favae"
EVALUATION = "evaluate_reconstruction/natural-f2-favae-on-natural"


def client(project: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{project / 'mlflow.db'}")


def run_id(result: Audit, job: str) -> str:
    run = result.evidence[job].run
    assert run is not None
    return run.run_id


def rewrite_record(project: Path, job: str, **fields: object) -> None:
    path = project / "data/tiny/runs" / f"{job}.json"
    replace(path, json.dumps(json.loads(path.read_text()) | fields).encode())


def test_every_number_has_a_chain_that_reaches_data_and_checkpoint(here: Path) -> None:
    result = audit(None)
    assert result.problems == []
    tables = pd.concat(pd.read_csv(path) for path in (here / "data/tiny/reports/tables").glob("*.csv"))
    assert len(result.numbers) == tables["reproduced"].notna().sum() > 0
    for number in result.numbers:
        chain = result.chain(number)
        assert chain[0].job.name == number.cell
        stages = {item.job.stage.name for item in chain}
        assert {"train_autoencoder", "prepare_dataset"} <= stages
        assert ("train_cat" in stages) == number.cell.startswith("generate_images")
        assert all(item.card and item.record and item.run for item in chain)


def test_one_chain_has_the_facts_for_an_audit(here: Path) -> None:
    result = audit(None)
    numbers = find(result, f"reconstruction/{EVALUATION.split('/')[1]}/psnr_test")
    assert [n.label for n in numbers] == ["FA-VAE, f = 2"]
    assert numbers == find(result, "reconstruction/FA-VAE, f = 2/psnr_test")
    assert numbers == find(result, "reconstruction/3/psnr_test")
    text = "\n".join(describe(result, numbers[0]))
    weights = here / "data/tiny" / MODEL / "model.safetensors"
    card = read_card(here / "data/tiny" / MODEL / "card.json")
    record = json.loads((here / "data/tiny/runs" / f"{MODEL}.json").read_text())
    for fact in (
        repr(json.loads((here / "data/tiny" / EVALUATION / "metrics.json").read_text())["psnr_test"]["value"]),
        f"checkpoint    {card.outputs[weights.relative_to(here).as_posix()].sha256[:12]}",
        f"content key   {card.key}",
        "params/table2.yaml: r12-conv + params/tiny.yaml: f2",
        f"git commit    {record['git_commit']} (clean)",
        f"host          {record['host']}",
        "SLURM job     none",
        run_id(result, MODEL),
        "data/tiny/prepare_dataset/natural/shards",
    ):
        assert fact in text, fact
    with pytest.raises(ValueError, match="no measured number is named 'reconstruction/x/psnr_test'"):
        find(result, "reconstruction/x/psnr_test")


def test_a_value_edited_in_a_table_is_named(here: Path) -> None:
    value = repr(json.loads((here / "data/tiny" / EVALUATION / "metrics.json").read_text())["psnr_test"]["value"])
    table, summary = (here / "data/tiny/reports/tables" / name for name in ("reconstruction.csv", "summary.md"))
    replace(table, table.read_bytes().replace(value.encode(), b"31.5"))
    shown = f" {float(value):.2f} ".encode()
    assert shown in summary.read_bytes()
    replace(summary, summary.read_bytes().replace(shown, b" 31.50 "))
    problems = audit(None).problems
    where = "data/tiny/reports/tables/reconstruction.csv: FA-VAE, f = 2/psnr_test"
    assert f"{where}: reproduced is '31.5', according to the results '{value}'" in problems
    assert any(p.startswith("data/tiny/reports/tables/summary.md: line ") for p in problems)
    assert any(p.startswith("make_tables/all: corrupt: data/tiny/reports/tables does not match") for p in problems)
    assert len(problems) == 3


def test_a_deleted_run_and_a_second_one_are_named(here: Path) -> None:
    result = audit(None)
    mlflow = client(here)
    mlflow.delete_run(run_id(result, MODEL))
    twin = mlflow.get_run(run_id(result, EVALUATION))
    copy = mlflow.create_run(twin.info.experiment_id, tags=dict(twin.data.tags)).info.run_id
    mlflow.set_terminated(copy)
    problems = audit(None).problems
    behind = sum(any(item.job.name == MODEL for item in result.chain(n)) for n in result.numbers)
    assert any(
        p.startswith(f"{MODEL}: no valid run in MLflow") and f"(affects {behind} numbers)" in p for p in problems
    )
    assert any(p.startswith(f"{EVALUATION}: 2 valid runs in MLflow") for p in problems)
    assert len(problems) == 2


def test_a_number_changed_in_mlflow_is_named(here: Path) -> None:
    client(here).log_metric(run_id(audit(None), EVALUATION), "result/ssim_test", 0.99)
    (problem,) = audit(None).problems
    assert problem.startswith("reconstruction/FA-VAE, f = 2/ssim_test: ")
    assert "0.99 in its MLflow run" in problem


def test_one_flipped_byte_of_a_checkpoint_is_named(here: Path) -> None:
    weights = here / "data/tiny" / MODEL / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    replace(weights, bytes(content))
    problems = audit(None).problems
    assert any(p.startswith(f"{MODEL}: corrupt: data/tiny/{MODEL}/model.safetensors does not match") for p in problems)
    assert any(p.startswith(f"{EVALUATION}: stale: its input {MODEL} is not ok") for p in problems)
    assert not any(p.startswith("prepare_dataset") for p in problems)


def test_an_invalid_run_record_is_named(here: Path) -> None:
    rewrite_record(here, MODEL, git_commit="0" * 40)
    rewrite_record(here, EVALUATION, git_commit=None)
    rewrite_record(here, "prepare_dataset/scientific", key="1" * 64)
    (here / "data/tiny/runs/prepare_dataset/natural.json").unlink()
    problems = audit(None).problems
    for start in (
        f"{MODEL}: made from the commit 000000000000, which this repository does not have",
        f"{EVALUATION}: made outside a git repository",
        "prepare_dataset/scientific: its run record belongs to another result (key 111111111111",
        "prepare_dataset/natural: no readable run record",
    ):
        assert any(p.startswith(start) for p in problems), start
    assert len(problems) == 4


def test_a_dirty_tree_at_the_time_of_the_run_is_named_and_the_exit_code_is_1(results: Path) -> None:
    assert "44 numbers, 18 results, 0 problems" in call(results, "favae", "audit").stdout
    edit(results, "tables.yaml", "held-out photographs", "photographs")
    stale = call(results, "favae", "audit", check=False)
    assert stale.returncode == 1
    assert "make_tables/all: stale: parameters" in stale.stdout
    call(results, "snakemake")  # only the tables, from an uncommitted edit
    dirty = call(results, "favae", "audit", check=False)
    assert dirty.returncode == 1
    assert "make_tables/all: made from a working tree with uncommitted changes: params/tables.yaml" in dirty.stdout
    assert call(results, "favae", "audit", "reconstruction/1/psnr_test").returncode == 0
    call(results, "git", "commit", "-qam", "the edit that ran")
    assert "0 problems" in call(results, "favae", "audit").stdout
