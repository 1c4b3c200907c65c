"""One experiment of a tracking server, used by one process at a time and with short timeouts."""

import logging
import os
import sqlite3
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from favae.runtime import paths
from favae.sync.database import database_file, make_ready
from favae.sync.secrets import shown, without_secrets

log = logging.getLogger(__name__)

# Short timeouts: MLflow's defaults (seven retries of two minutes) would delay the end of a workflow. Variables that are set in the
# environment take precedence.
_QUICK = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
}
_LOCK_PATIENCE = 600.0  # seconds; another process may be showing a whole scale


class Unreachable(ConnectionError):
    """The tracking server or its database does not answer."""

    passing = False  # whether the same command may succeed later, with nothing changed but the server's or disk's state


@dataclass(frozen=True)
class Run:
    """One run in MLflow. The tag `started` is from the run record of the job; MLflow's own times are not used."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    artifact_uri: str = ""

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
    except Exception as error:  # noqa: BLE001  (raised again, without what must not be shown)
        # MLflow, SQLAlchemy, urllib3 and requests raise many unrelated kinds. None is chained: they tell the password.
        log.debug("%s", without_secrets(traceback.format_exc(), uri))
        said = without_secrets(f"{type(error).__name__}: {error}", uri)
        unreachable = Unreachable(f"{shown(uri)}: {said}")
        unreachable.passing = _passes(error)
        raise unreachable from None


def _passes(error: BaseException | None) -> bool:
    """Whether an error, or one below it, is of the kind that ends by itself: no connection, no answer, locked, no space."""
    lasting = (FileNotFoundError, PermissionError, NotADirectoryError)
    while error is not None:
        if isinstance(error, sqlite3.OperationalError) and any(
            word in str(error) for word in ("locked", "full", "I/O")
        ):
            return True
        if isinstance(error, OSError) and not isinstance(error, lasting):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_runs(scale: str, uri: str) -> dict[tuple[str, str], list[Run]]:
    """All runs of `favae-<scale>` by (stage, cell), without changing anything: of a database file, a copy is read.

    Empty where the database or the experiment does not exist.

    Raises:
        Unreachable: naming the address and what went wrong there.
    """
    address = uri
    with tempfile.TemporaryDirectory() as folder:
        try:
            if (database := database_file(uri)) is not None:
                if not database.exists():
                    return {}
                copy = Path(folder) / "mlflow.db"
                with (
                    closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
                    closing(sqlite3.connect(copy)) as target,
                ):
                    source.backup(target)
                uri = f"sqlite:///{copy}"
            client = _client(uri)
            there = client.get_experiment_by_name(f"favae-{scale}")
            return _read_runs(client, there.experiment_id) if there else {}
        except Exception as error:  # noqa: BLE001  (raised again, without what must not be shown)
            # The same unrelated kinds as in `open_experiment`.
            said = without_secrets(f"{type(error).__name__}: {error}", address)
            raise Unreachable(f"{shown(address)}: {said}") from None


def _client(uri: str) -> Any:
    for key, value in _QUICK.items():
        os.environ.setdefault(key, value)
    import mlflow

    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    return mlflow.MlflowClient(uri)


def _open(name: str, uri: str) -> Experiment:
    artifacts = None
    if (database := database_file(uri)) is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
        artifacts = paths.mlflow_artifacts().absolute().as_uri()
        make_ready(database, name, artifacts)
    client = _client(uri)
    there = client.get_experiment_by_name(name)
    if there and there.lifecycle_stage == "deleted":
        client.restore_experiment(there.experiment_id)
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
            one = Run(run.info.run_id, run.info.status, tags, dict(run.data.metrics), run.info.artifact_uri)
            runs.setdefault((tags.get("stage", ""), tags.get("cell", "")), []).append(one)
        token = page.token
        if not token:
            return runs
