"""The SQLite file of MLflow: created whole, replaced when damaged, and corrected when the project was moved.

Everything in it can be rebuilt from result files. A damaged database is renamed, not deleted.
"""

import gc
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from favae.runtime.files import replacing

log = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
Mode = Literal["ro", "rw"]  # `ro` changes nothing, not even what a killed process left to be undone


@dataclass(frozen=True)
class Run:
    """One run in MLflow. The tag `started` is from the run record of the job; MLflow's own times are not used."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    artifact_uri: str

    @property
    def valid(self) -> bool:
        """Whether the run is complete and not superseded by a later run of its cell."""
        return self.status == "FINISHED" and self.tags.get("complete") == "yes" and self.tags.get("superseded") != "yes"


def database_file(uri: str) -> Path | None:
    """The file of an SQLite tracking URI; None for a server."""
    return Path(uri.removeprefix(_SQLITE).partition("?")[0]) if uri.startswith(_SQLITE) else None


@contextmanager
def importing_mlflow() -> Iterator[None]:
    """Context manager: no search for garbage inside. MLflow's import makes so many objects that the search costs a quarter of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def make_ready(path: Path, experiment: str, artifacts: str) -> None:
    """Ensure that `path` is a complete database, and that artifacts of `experiment` go to the folder URI `artifacts`.

    A new database is created under a temporary name and renamed, so a kill or a full disk leaves no partial one. The caller
    holds the lock of MLflow.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp*"):  # of a process that was killed
        left.unlink()
    if path.exists() and (problem := damage(path, "rw")):
        aside = _set_aside(path)
        log.warning(
            "mlflow: %s %s; it was renamed to %s, and a new one is created from the results", path, problem, aside.name
        )
    if not path.exists():
        _create(path)
    if path.absolute().is_relative_to(Path.cwd()):  # one outside may serve several projects
        _correct_artifacts(path, experiment, artifacts)


def runs_in(path: Path, experiment: str) -> list[Run]:
    """All runs of an experiment that are not deleted. Nothing is changed.

    MLflow would make objects of all parameters too, which takes long with hundreds of runs.
    """
    with closing(_connect(path, "ro")) as database:
        found = database.execute(
            "select run_uuid, status, artifact_uri from runs join experiments using (experiment_id) "
            "where experiments.name = ? and runs.lifecycle_stage = 'active'",
            (experiment,),
        )
        runs = {run: Run(run, status, {}, {}, uri) for run, status, uri in found}
        for run, key, value in database.execute("select run_uuid, key, value from tags"):
            if run in runs:
                runs[run].tags[key] = value
        for run, key, value in database.execute("select run_uuid, key, value from latest_metrics where not is_nan"):
            if run in runs:
                runs[run].metrics[key] = value
    return list(runs.values())


def _create(path: Path) -> None:
    with importing_mlflow():
        import mlflow

    with replacing(path) as temporary:
        mlflow.MlflowClient(f"{_SQLITE}{temporary}").search_experiments()  # creates all tables


def _connect(path: Path, mode: Mode) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=60)


def damage(path: Path, mode: Mode) -> str | None:
    """Why a database must be replaced, such as "is damaged (...)", or None for a complete one."""
    if path.exists() and not path.is_file():
        return "is not a file"
    try:
        with closing(_connect(path, mode)) as database:
            (said,) = database.execute("pragma quick_check(1)").fetchone()
            if said != "ok":
                return f"is damaged ({said})"
            (runs,) = database.execute("select count(*) from runs").fetchone()
            version = database.execute("select version_num from alembic_version").fetchone()
            lacking = _lacking(database)
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise  # locked or not readable, which is no damage
        return "is incomplete (its creation was interrupted)"
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"
    if version is None:
        return "is incomplete (it has no version)"
    if version[0] == _present_version():  # a database of another version is MLflow's to judge
        return f"is damaged (it lacks {lacking})" if lacking else None
    # Of another version, or its creation was interrupted. Without runs, a new one is as good.
    return None if runs else "holds no runs and may be incomplete"


def _lacking(database: sqlite3.Connection) -> str | None:
    """A table or column that the present MLflow needs and the database does not have; None where all are there.

    MLflow makes some missing tables again, as its first version had them, and then fails at every later write.
    """
    with importing_mlflow():
        import mlflow.store.db.utils  # noqa: F401  (declares all tables)
        from mlflow.store.db.base_sql_model import Base

    for name, table in Base.metadata.tables.items():
        there = {column for _, column, *_ in database.execute(f'pragma table_xinfo("{name}")')}
        if not there:
            return f"the table {name}"
        if absent := sorted({column.name for column in table.columns} - there):
            return f"the column {name}.{absent[0]}"
    return None


def _present_version() -> str | None:
    """Version of the databases that the present MLflow makes."""
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    return ScriptDirectory(next(iter(mlflow.store.db_migrations.__path__))).get_current_head()


def _set_aside(path: Path) -> Path:
    """Rename a database and its journals to the first free `<name>.aside-<n>`."""
    number = 1
    while (target := path.with_name(f"{path.name}.aside-{number}")).exists():
        number += 1
    for suffix in ("-journal", "-wal", "-shm"):
        if (journal := path.with_name(path.name + suffix)).exists():
            journal.rename(target.with_name(target.name + suffix))
    return path.rename(target)


def _correct_artifacts(path: Path, experiment: str, artifacts: str) -> None:
    """After the project was moved or copied, replace the old folder in the database: MLflow would write into it."""
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        found = database.execute(
            "select experiment_id, artifact_location from experiments where name = ?", (experiment,)
        ).fetchone()
        if found is None or _folder(found[1]) == _folder(artifacts):
            return
        identifier, old = found
        log.info("mlflow: the project was moved from %s; artifacts are now read from and written to this folder", old)
        database.execute(
            "update experiments set artifact_location = ? where experiment_id = ?", (artifacts, identifier)
        )
        database.execute(
            "update runs set artifact_uri = ? || substr(artifact_uri, ?) where experiment_id = ? and artifact_uri like ? || '%'",
            (artifacts, len(old) + 1, identifier, old),
        )


def _folder(uri: str) -> str:
    """One spelling of a local folder, links resolved; another URI as it is."""
    parts = urlsplit(uri)
    return os.path.realpath(unquote(parts.path)) if parts.scheme in ("", "file") else uri


def is_kept(artifact_uri: str, name: str) -> bool:
    """Whether a run's artifact exists; an artifact that is not on this machine counts as existing."""
    parts = urlsplit(artifact_uri)
    return parts.scheme not in ("", "file") or not parts.path or Path(unquote(parts.path), name).exists()
