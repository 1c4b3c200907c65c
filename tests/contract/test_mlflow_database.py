"""MLflow's database: broken, it is replaced; of another folder, it is corrected; a deleted experiment comes back."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests_support import call, environment

from favae.sync.database import damage, database_file
from favae.sync.experiment import Unreachable, open_experiment, read_runs
from favae.sync.secrets import shown, without_secrets

URI = "sqlite:///data/mlflow/mlflow.db"
OPEN = (
    "from favae.sync.experiment import open_experiment\nwith open_experiment('tiny', {uri!r}) as e: print(e.identifier)"
)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a database will be; the folder of the project is the working directory."""
    monkeypatch.chdir(tmp_path)
    path = database_file(URI)
    assert path is not None
    path.parent.mkdir(parents=True)
    return path


def opened(uri: str = URI) -> subprocess.CompletedProcess[str]:
    """Open the experiment in a process of its own, as each command does."""
    return call(Path.cwd(), "python", "-c", OPEN.format(uri=uri), check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow made, which takes it some seconds."""
    folder = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(folder):
        path = database_file(URI)
        assert path is not None
        path.parent.mkdir(parents=True)
        assert opened().returncode == 0
    return folder / path


def _half(path: Path, whole: Path) -> None:
    """What a migration leaves that is killed early."""
    with closing(sqlite3.connect(path)) as half, half:
        half.execute("create table experiments (experiment_id integer, name text)")
        half.execute("create table alembic_version (version_num text)")


def _tables_without_the_last_steps(path: Path, whole: Path) -> None:
    """What one leaves that is killed late: the tables are there, the version is an early one."""
    shutil.copy(whole, path)
    with closing(sqlite3.connect(path)) as half, half:
        half.execute("update alembic_version set version_num = '451aebb31d03'")


def _after(*statements: str) -> Callable[[Path, Path], None]:
    """A database with a run on which somebody executed these statements."""

    def damage(path: Path, whole: Path) -> None:
        shutil.copy(whole, path)
        with closing(sqlite3.connect(path)) as half, half:
            half.execute("insert into runs (run_uuid, experiment_id, lifecycle_stage) values ('r', 1, 'active')")
            for statement in statements:
                half.execute(statement)

    return damage


BROKEN = {
    "empty": lambda path, _: path.write_bytes(b""),
    "another file": lambda path, _: path.write_bytes(b"<html>" * 1000),
    "a torn file": lambda path, _: path.write_bytes(b"SQLite format 3\0" + b"\7" * 5000),
    "killed early": _half,
    "killed late": _tables_without_the_last_steps,
    "without a table": _after("drop table latest_metrics"),
    "with an old table": _after(
        "drop table metrics", "create table metrics (key text, value float)"
    ),  # as MLflow makes it
    "without a column": _after("alter table datasets drop column dataset_profile"),
    "without versions": _after("drop table alembic_version"),
    "without a version": _after("delete from alembic_version"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_database_is_recognised(database: Path, whole: Path, broken: str) -> None:
    BROKEN[broken](database, whole)
    assert damage(whole, "ro") is None
    assert damage(database, "rw")


QUICK = ("a torn file", "killed early", "with an old table")


@pytest.mark.parametrize(
    "broken", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BROKEN]
)
def test_a_broken_database_is_set_aside_and_made_anew(database: Path, whole: Path, broken: str) -> None:
    BROKEN[broken](database, whole)
    content = database.read_bytes()
    done = opened()
    assert done.returncode == 0, done.stderr
    assert f"mlflow: {database} " in done.stderr
    aside = database.with_name("mlflow.db.aside-1")
    assert aside.read_bytes() == content
    assert opened().stdout == done.stdout
    assert not database.with_name("mlflow.db.aside-2").exists()


def test_a_folder_in_place_of_the_database_is_set_aside(database: Path) -> None:
    database.mkdir()
    with pytest.raises(Unreachable, match=r"it is not a file; `favae mlflow-sync` makes a new one"):
        read_runs("tiny", URI)
    assert opened().returncode == 0
    assert database.is_file() and database.with_name("mlflow.db.aside-1").is_dir()


def test_an_audit_names_what_the_database_lacks_and_changes_nothing(database: Path, whole: Path) -> None:
    _after("drop table trace_info")(database, whole)
    content = database.read_bytes()
    with pytest.raises(
        Unreachable, match=r"it is damaged \(it lacks the table trace_info\); `favae mlflow-sync` makes"
    ):
        read_runs("tiny", URI)
    assert database.read_bytes() == content
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.3, 2.0])
def test_killed_while_it_makes_the_database_the_next_one_makes_it(database: Path, after: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", OPEN.format(uri=URI)], env=environment())
    end = time.monotonic() + 60
    while not list(database.parent.glob(".mlflow.db.*")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(after)
    process.kill()
    process.wait()
    assert opened().returncode == 0
    assert not list(database.parent.glob(".*"))


def test_a_full_disk_leaves_no_half_of_a_database(database: Path) -> None:
    limited = f"ulimit -f 100; trap '' XFSZ; exec {sys.executable} -c \"$0\""
    done = subprocess.run(
        ["bash", "-c", limited, OPEN.format(uri=URI)], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode and "Unreachable" in done.stderr
    assert not list(database.parent.iterdir())
    assert opened().returncode == 0


def test_a_whole_database_that_another_version_made_is_never_set_aside(database: Path, whole: Path) -> None:
    shutil.copy(whole, database)
    with closing(sqlite3.connect(database)) as old, old:
        old.execute("insert into runs (run_uuid, experiment_id, lifecycle_stage) values ('r', 1, 'active')")
        old.execute("update alembic_version set version_num = '451aebb31d03'")
    with (
        pytest.raises(
            Unreachable, match=r"out-of-date.*another version of MLflow: install that one.*mlflow-sync"
        ) as caught,
        open_experiment("tiny", f"sqlite:///{database.absolute()}"),
    ):
        pass
    assert not caught.value.passing
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]


def test_a_deleted_experiment_is_restored(database: Path, whole: Path) -> None:
    shutil.copy(whole, database)
    identifier = opened().stdout.strip()
    client = MlflowClient(f"sqlite:///{database.absolute()}")  # not as others spell it: MLflow keeps what it opened
    client.delete_experiment(identifier)
    assert opened().stdout.strip() == identifier
    assert client.get_experiment(identifier).lifecycle_stage == "active"


def test_in_a_moved_or_copied_project_artifacts_are_those_of_its_own_folder(results: Path, tmp_path: Path) -> None:
    call(results, "favae", "mlflow-sync")
    copy = Path(shutil.copytree(results, tmp_path / "a copy", symlinks=True))
    before = sorted((results / "data/mlflow/artifacts").rglob("*"))
    assert "0 new of 18 runs" in call(copy, "favae", "mlflow-sync").stdout
    shutil.rmtree(next((copy / "data/mlflow/artifacts").iterdir()))  # the artifacts of one run
    assert "1 new of 18 runs" in call(copy, "favae", "mlflow-sync").stdout
    assert sorted((results / "data/mlflow/artifacts").rglob("*")) == before
    with closing(sqlite3.connect(copy / "mlflow.db")) as there:
        uris = [uri for (uri,) in there.execute("select artifact_uri from runs")]
    assert len(uris) == 19 and all(uri.startswith((copy / "data/mlflow/artifacts").as_uri() + "/") for uri in uris)


@pytest.mark.parametrize(
    ("uri", "printed"),
    [
        ("https://ada:s3cret@example.org:5000/mlflow", "https://example.org:5000/mlflow"),
        ("postgresql://ada:s3c/r@et@example.org/runs?password=s3cret", "postgresql://example.org/runs"),
        ("http://s3cret@example.org", "http://example.org"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////srv/a@b/mlflow.db", "sqlite:////srv/a@b/mlflow.db"),
    ],
)
def test_user_and_password_of_an_address_are_not_shown(uri: str, printed: str) -> None:
    assert shown(uri) == printed
    said = without_secrets(f"API request to {uri}/api failed; retrying {uri.replace('%40', '@')}", uri)
    assert all(secret not in said for secret in ("s3cret", "s3c/r@et", "ada:"))
    assert printed in said


@pytest.mark.parametrize("options", [(), ("--debug", "--verbose")])
def test_no_command_prints_the_password(results: Path, options: tuple[str, ...]) -> None:
    uri = "http://zoeq:s3cr%40et@127.0.0.1:9/mlflow"
    for command in (("mlflow-sync",), ("audit",), ("internal", "finish")):
        done = call(results, "favae", *options, *command, check=False, MLFLOW_TRACKING_URI=uri, DVC_STAGE="no lock")
        said = done.stdout + done.stderr
        assert "127.0.0.1:9" in said
        assert all(secret not in said for secret in ("s3cr", "zoeq"))


def test_no_tool_reports_to_anybody_however_it_is_started() -> None:
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    code = "import favae, mlflow.telemetry.utils as t, os; print(t.is_telemetry_disabled(), dict(os.environ))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=plain, check=True)
    assert done.stdout.startswith("True ")
    assert "'HF_HUB_DISABLE_TELEMETRY': '1'" in done.stdout and "'DVC_NO_ANALYTICS': '1'" in done.stdout
    root = Path(__file__).parents[2]
    assert "analytics = false" in (root / ".dvc/config").read_text()
