"""One experiment of a tracking server, used by one process at a time and with short timeouts."""

import logging
import os
import sqlite3
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock

from favae.runtime import paths
from favae.sync.database import Run, damage, database_file, importing_mlflow, make_ready, runs_in
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
_OTHER_VERSION = (
    "it was made by another version of MLflow: install that one, upgrade the database where it is an older one, or move the file "
    "away and type `favae mlflow-sync`, which makes it again from the results"
)
_LOCK_PATIENCE = 600.0  # seconds; another process may be showing a whole scale


class Unreachable(ConnectionError):
    """The tracking server or its database does not answer."""

    passing = False  # whether the same command may succeed later, with nothing changed but the server's or disk's state


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
        if "database schema" in said:
            said += f"; {_OTHER_VERSION}"
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
    """All runs of `favae-<scale>` by (stage, cell), without changing anything.

    Empty where the database or the experiment does not exist.

    Raises:
        Unreachable: naming the address and what went wrong there.
    """
    try:
        if (database := database_file(uri)) is not None:
            if not database.exists():
                return {}
            if problem := damage(database, "ro"):
                raise ValueError(f"it {problem}; `favae mlflow-sync` makes a new one from the results")
            return _by_cell(runs_in(database, f"favae-{scale}"))
        client = _client(uri)
        there = client.get_experiment_by_name(f"favae-{scale}")
        return _by_cell(_read_runs(client, there.experiment_id)) if there else {}
    except Exception as error:  # noqa: BLE001  (raised again, without what must not be shown)
        # The same unrelated kinds as in `open_experiment`.
        said = without_secrets(f"{type(error).__name__}: {error}", uri)
        raise Unreachable(f"{shown(uri)}: {said}") from None


def _client(uri: str) -> Any:
    for key, value in _QUICK.items():
        os.environ.setdefault(key, value)
    with importing_mlflow():
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
    found = _read_runs(client, identifier) if database is None else runs_in(database, name)
    return Experiment(client, identifier, _by_cell(found))


def _read_runs(client: Any, identifier: str) -> Iterator[Run]:
    """Like `runs_in`, of a server: read in pages to need few requests."""
    token = None
    while True:
        page = client.search_runs([identifier], page_token=token)
        for run in page:
            tags, metrics = dict(run.data.tags), dict(run.data.metrics)
            yield Run(run.info.run_id, run.info.status, tags, metrics, run.info.artifact_uri)
        token = page.token
        if not token:
            return


def _by_cell(found: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    runs: dict[tuple[str, str], list[Run]] = {}
    for run in found:
        runs.setdefault((run.tags.get("stage", ""), run.tags.get("cell", "")), []).append(run)
    return runs
