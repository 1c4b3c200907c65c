"""MLflow is a view: if lost, it is rebuilt; if unreachable, nothing fails; it shows one valid run per cell."""

import json
import multiprocessing
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from tests_support import call

from favae.jobs.grid import load_grid
from favae.results.cards import read_card
from favae.sync.mlflow import sync

DATABASE = "mlflow.db"
MLFLOW_ALONE = 252  # seconds that MLflow waits between its own seven retries, on every machine
CELL = ("train_autoencoder", "natural-f2-favae")


def shown(project: Path) -> pd.DataFrame:
    """Runs with their tags as columns, straight from the database."""
    with sqlite3.connect(project / DATABASE) as database:
        tags = pd.read_sql("select run_uuid, key, value from tags", database)
        runs = pd.read_sql("select run_uuid, status from runs where lifecycle_stage = 'active'", database)
    wide = tags[~tags["key"].str.startswith("mlflow.")].pivot(index="run_uuid", columns="key", values="value")
    return runs.join(wide.reindex(columns=wide.columns.union(["superseded"])), on="run_uuid")


def metrics(project: Path) -> list[tuple]:
    query = """select t.value, c.value, m.key, m.step, m.value from metrics m
        join tags t on t.run_uuid = m.run_uuid and t.key = 'stage'
        join tags c on c.run_uuid = m.run_uuid and c.key = 'cell' order by 1, 2, 3, 4"""
    with sqlite3.connect(project / DATABASE) as database:
        return database.execute(query).fetchall()


def lose_mlflow(project: Path) -> None:
    """Remove the database and its artifacts."""
    (project / DATABASE).unlink()
    shutil.rmtree(project / "data/mlflow")


def test_a_lost_database_is_rebuilt_with_its_curves(results: Path) -> None:
    before = metrics(results)
    identity = ["stage", "cell", "key", "git_commit", "checkpoint_sha256", "started", "status"]
    runs = shown(results)[identity].sort_values(identity, ignore_index=True)
    lose_mlflow(results)
    assert "18 new of 18 runs" in call(results, "favae", "mlflow-sync").stdout
    assert metrics(results) == before
    assert shown(results)[identity].sort_values(identity, ignore_index=True).equals(runs)
    curve = pd.read_csv(results / "data/tiny/curves" / CELL[0] / f"{CELL[1]}.csv")[["step", "train/l1"]].dropna()
    logged = {(step, value) for *cell, key, step, value in before if tuple(cell) == CELL and key == "train/l1"}
    assert logged == set(curve.itertuples(index=False, name=None))
    assert "0 new of 18 runs" in call(results, "favae", "mlflow-sync").stdout


def test_a_job_that_was_killed_and_run_again_has_one_valid_run(results: Path) -> None:
    client = MlflowClient(f"sqlite:///{results / DATABASE}")
    identifier = client.get_experiment_by_name("favae-tiny").experiment_id
    key = read_card(results / "data/tiny" / "/".join(CELL) / "card.json").key
    tags = {"stage": CELL[0], "cell": CELL[1], "key": key}
    killed = client.create_run(identifier, tags=tags).info.run_id  # left by a killed sync: RUNNING, not complete
    record = results / "data/tiny/runs" / CELL[0] / f"{CELL[1]}.json"
    first = json.loads(record.read_text())
    again = first | {"started": "2030-01-01T00:00:00+00:00", "ended": "2030-01-01T00:01:00+00:00"}
    record.unlink()
    record.write_text(json.dumps(again))
    call(results, "favae", "mlflow-sync")
    runs = shown(results)
    runs = runs[runs["cell"] == CELL[1]]
    valid = runs[runs["superseded"] != "yes"]
    assert len(runs) == 3
    assert list(valid["started"]) == [again["started"]]
    assert set(valid["status"]) == {"FINISHED"}
    assert list(runs[runs["run_uuid"] == killed]["status"]) == ["KILLED"]
    assert "RUNNING" not in set(shown(results)["status"])
    # The earlier result is restored, as by `dvc checkout` of an old commit: its run is the valid one again.
    record.write_text(json.dumps(first))
    call(results, "favae", "mlflow-sync")
    runs = shown(results)
    assert list(runs[(runs["cell"] == CELL[1]) & (runs["superseded"] != "yes")]["started"]) == [first["started"]]


def test_eight_processes_into_a_fresh_database(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lose_mlflow(results)
    monkeypatch.chdir(results)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    load_grid.cache_clear()
    with ProcessPoolExecutor(8, mp_context=multiprocessing.get_context("fork")) as pool:
        said = list(pool.map(sync, ["tiny"] * 8))
    line = "mlflow: {} new of 18 runs in experiment favae-tiny (sqlite:///mlflow.db)"
    assert sorted(said) == sorted(line.format(n) for n in [18, *[0] * 7])
    assert len(shown(results)) == 18
    assert set(shown(results)["status"]) == {"FINISHED"}


@pytest.fixture(params=["down", "silent", "refusing"])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a server that does not exist, that accepts connections and never answers, or that always answers 403."""
    server = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    if request.param == "down":
        server.close()
    if request.param == "refusing":
        threading.Thread(target=_refuse, args=(server,), daemon=True).start()
    yield address
    server.close()


def _refuse(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_an_unreachable_server_neither_fails_nor_delays_a_workflow(results: Path, bad_server: str) -> None:
    start = time.monotonic()
    done = call(results, "favae", "internal", "finish", DVC_STAGE="no lock", MLFLOW_TRACKING_URI=bad_server)
    assert time.monotonic() - start < MLFLOW_ALONE / 1.5
    assert f"mlflow: could not be updated ({bad_server}" in done.stderr
    asked = call(results, "favae", "mlflow-sync", "--quiet", check=False, MLFLOW_TRACKING_URI=bad_server)
    assert asked.returncode == 1 and f"mlflow: could not be updated ({bad_server}" in asked.stderr


def test_an_unreadable_record_is_left_out_and_reported(results: Path) -> None:
    record = results / "data/tiny/runs/make_tables/all.json"
    record.unlink()
    record.write_text("{}")
    done = call(results, "favae", "mlflow-sync")
    assert "of 17 runs" in done.stdout
    assert "make_tables/all is left out" in done.stderr
    lose_mlflow(results)
    curve = results / "data/tiny/curves/train_cat/natural-f4-cat.csv"
    curve.unlink()
    curve.write_bytes(b"\0\xff not a table")
    done = call(results, "favae", "internal", "finish", DVC_STAGE="no lock")
    assert "16 new of 17 runs" in done.stderr
    assert f"train_cat/natural-f4-cat is left out: {curve.relative_to(results)}: damaged" in done.stderr
