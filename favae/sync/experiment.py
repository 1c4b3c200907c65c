"""One experiment of a tracking server: reached by one process at a time, with short patience."""

import logging
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from favae.runtime import paths

# A server that is away or slow is given up in seconds: MLflow's own patience (seven retries of two minutes) would hold
# up the end of a workflow. What a person set in the environment wins.
_QUICK = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
_SQLITE = "sqlite:///"
_LOCK_PATIENCE = 600.0  # seconds; another process may be showing a whole scale


class Unreachable(ConnectionError):
    """The tracking server or its database cannot be used now."""


@dataclass(frozen=True)
class Run:
    """What is shown of one run. Times of MLflow play no part in it: `started` is the job's own record."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def valid(self) -> bool:
        """Whole, and not replaced by a later run of its cell."""
        return self.status == "FINISHED" and self.tags.get("complete") == "yes" and self.tags.get("superseded") != "yes"


@dataclass(frozen=True)
class Experiment:
    """An experiment and all its runs by (stage, cell), as they were when it was opened."""

    client: Any  # MlflowClient; its module is imported late
    identifier: str
    runs: dict[tuple[str, str], list[Run]]


@contextmanager
def open_experiment(scale: str, uri: str) -> Iterator[Experiment]:
    """Open `favae-<scale>`, creating database and experiment if need be, and hold it against other processes.

    Two processes that create an SQLite database at once break it, so everything happens under one lock of this project.

    Raises:
        Unreachable: naming the address and what went wrong there.
    """
    lock = paths.mlflow_lock()
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=_LOCK_PATIENCE):
            yield _open(f"favae-{scale}", uri)
    except Exception as error:
        # MLflow, SQLAlchemy, urllib3 and requests raise many unrelated kinds.
        raise Unreachable(f"{uri}: {type(error).__name__}: {error}") from error


def read_runs(scale: str, uri: str) -> dict[tuple[str, str], list[Run]]:
    """All runs of `favae-<scale>` by (stage, cell), without changing anything: of a database file, a copy is read.

    Empty where the database or the experiment does not exist.

    Raises:
        Unreachable: naming the address and what went wrong there.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            if uri.startswith(_SQLITE):
                database = Path(uri.removeprefix(_SQLITE))
                if not database.exists():
                    return {}
                copy = Path(folder) / "mlflow.db"
                with (
                    closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
                    closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
                uri = f"{_SQLITE}{copy}"
            client = _client(uri)
            there = client.get_experiment_by_name(f"favae-{scale}")
            return _read_runs(client, there.experiment_id) if there else {}
        except Exception as error:
            # The same unrelated kinds as in `open_experiment`.
            raise Unreachable(f"{uri}: {type(error).__name__}: {error}") from error


def _client(uri: str) -> Any:
    for key, value in _QUICK.items():
        os.environ.setdefault(key, value)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return mlflow.MlflowClient(uri)


def _open(name: str, uri: str) -> Experiment:
    artifacts = None
    if uri.startswith(_SQLITE):
        Path(uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        artifacts = paths.mlflow_artifacts().absolute().as_uri()
    client = _client(uri)
    there = client.get_experiment_by_name(name)
    identifier = there.experiment_id if there else client.create_experiment(name, artifacts)
    return Experiment(client, identifier, _read_runs(client, identifier))


def _read_runs(client: Any, identifier: str) -> dict[tuple[str, str], list[Run]]:
    """All runs that are not deleted, a page of many at a time: a few requests, whatever their number."""
    runs: dict[tuple[str, str], list[Run]] = {}
    token = None
    while True:
        page = client.search_runs([identifier], page_token=token)
        for run in page:
            tags = dict(run.data.tags)
            shown = Run(run.info.run_id, run.info.status, tags, dict(run.data.metrics))
            runs.setdefault((tags.get("stage", ""), tags.get("cell", "")), []).append(shown)
        token = page.token
        if not token:
            return runs
