"""One experiment of a tracking server, used by one process at a time and with short timeouts."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from favae.runtime import paths

# Short timeouts: MLflow's defaults (seven retries of two minutes) would delay the end of a workflow. Variables that are set in the
# environment take precedence.
_QUICK = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
_SQLITE = "sqlite:///"
_LOCK_PATIENCE = 600.0  # seconds; another process may be logging a whole scale


class Unreachable(ConnectionError):
    """The tracking server or its database does not answer."""


@dataclass(frozen=True)
class Run:
    """One run in MLflow. The tag `started` is from the run record of the job; MLflow's own times are not used."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]

    @property
    def valid(self) -> bool:
        """Whether the run is complete and not superseded by a later run of its cell."""
        return self.status == "FINISHED" and self.tags.get("complete") == "yes" and self.tags.get("superseded") != "yes"


@dataclass(frozen=True)
class Experiment:
    """An experiment and all its runs by (stage, cell), read when it was opened."""

    client: Any  # MlflowClient; its module is imported late
    identifier: str
    runs: dict[tuple[str, str], list[Run]]


@contextmanager
def open_experiment(scale: str, uri: str) -> Iterator[Experiment]:
    """Context manager: open `favae-<scale>`, creating database and experiment if needed, and hold the MLflow lock.

    The lock is needed because two processes that create an SQLite database at the same time damage it.

    Raises:
        Unreachable: the server or database failed; the message has its address and the error.
    """
    lock = paths.mlflow_lock()
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=_LOCK_PATIENCE):
            yield _open(f"favae-{scale}", uri)
    except Exception as error:
        # MLflow, SQLAlchemy, urllib3 and requests raise many unrelated kinds.
        raise Unreachable(f"{uri}: {type(error).__name__}: {error}") from error


def _open(name: str, uri: str) -> Experiment:
    for key, value in _QUICK.items():
        os.environ.setdefault(key, value)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    artifacts = None
    if uri.startswith(_SQLITE):
        Path(uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        artifacts = paths.mlflow_artifacts().absolute().as_uri()
    client = mlflow.MlflowClient(uri)
    there = client.get_experiment_by_name(name)
    identifier = there.experiment_id if there else client.create_experiment(name, artifacts)
    return Experiment(client, identifier, _read_runs(client, identifier))


def _read_runs(client: Any, identifier: str) -> dict[tuple[str, str], list[Run]]:
    """All runs that are not deleted, read in pages to need few requests."""
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
