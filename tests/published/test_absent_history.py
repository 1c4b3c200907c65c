"""Where the commit of a result is not here, the audit accuses nobody: it says what is not decided, and which commit is missing."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from published_support import git, set_commit
from typer.testing import CliRunner

from favae.cli.main import app
from favae.jobs.grid import load_grid
from favae.results import past
from favae.sync.audit import Audit, audit_bundle
from favae.sync.publish import publish

MODEL = "train_autoencoder/natural-f4-favae"
NUMBER = "reconstruction/natural-f4-favae-on-natural/psnr_test"
UNSHALLOW = "git fetch --unshallow"
NO_HISTORY = "this copy has no history: clone the repository with git"
Start = Callable[[Path], str]  # makes a copy of the repository there, and says what its history is called


def edit_parameters() -> None:
    path = Path("params/table2.yaml")
    text = path.read_text()
    assert "sigma: 3.0" in text
    path.write_text(text.replace("sigma: 3.0", "sigma: 2.5"))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def commit_all() -> None:
    git("add", "-A")
    git("commit", "-qm", "published, and parameters that changed since")


@pytest.fixture
def published(repository: Path) -> str:
    """The commit that all published results were made at; parameters changed since then, and everything is committed."""
    start = git("rev-parse", "HEAD")
    set_commit(start, {})
    publish("tiny")
    edit_parameters()
    commit_all()
    return start


def shallow_clone(copy: Path) -> str:
    git("clone", "-q", "--depth", "1", f"file://{Path.cwd()}", str(copy))
    return UNSHALLOW


def archive(copy: Path) -> str:
    copy.mkdir(parents=True)
    tree = subprocess.run(["git", "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(copy)], input=tree, check=True)
    return NO_HISTORY


def archive_in_another_repository(copy: Path) -> str:
    remedy = archive(copy)
    subprocess.run(["git", "init", "-q", str(copy.parent)], check=True)
    return remedy


def enter(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a copy of the repository in the working directory the new working directory."""
    copy = folder / "elsewhere/copy"
    remedy = start(copy)
    monkeypatch.chdir(copy)
    for remembered in (load_grid, past._grid_at, past.package_at):  # of the repository
        remembered.cache_clear()
    return remedy


def run_audit(*target: str) -> tuple[int, list[str]]:
    load_grid.cache_clear()
    done = CliRunner().invoke(app, ["audit", *target, "--scale", "tiny"])
    return done.exit_code, done.stdout.splitlines()


def audited() -> Audit:
    load_grid.cache_clear()
    return audit_bundle("tiny")


@pytest.mark.parametrize("start", [shallow_clone, archive, archive_in_another_repository])
def test_other_parameters_are_not_decided_without_their_commit(
    published: str, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree("data")
    assert run_audit()[0] == 0  # the commit is here, and has these parameters
    remedy = enter(start, tmp_path, monkeypatch)
    code, lines = run_audit()
    assert code == 3
    commit = published[:12]
    unseen = f"whether it was made with the parameters of its commit {commit}, because that commit is not here"
    assert lines[0].startswith(f"{MODEL}: not decided: {unseen}; they are not those in params/: ")
    assert re.search(r"sigma was 3(\.0)?, is now 2\.5 .*\(affects \d+ numbers\)$", lines[0])
    assert "results are not here, so nothing shows that they exist" in lines[-2]
    assert f" 0 problems, {len(lines) - 2} not decided: the commit {commit} is not here ({remedy})" in lines[-1]
    assert "neither those" not in "\n".join(lines)


def test_one_number_is_not_decided_either(published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(shallow_clone, tmp_path, monkeypatch)
    code, lines = run_audit(NUMBER)
    assert code == 3
    assert any(line.startswith(f"  {MODEL}: not decided: whether it was made with") for line in lines)


def test_a_problem_stays_a_problem_without_history(
    published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(archive, tmp_path, monkeypatch)
    path = Path("reports/tiny/results/evaluate_reconstruction/natural-f4-favae-on-natural/metrics.json")
    path.write_text(path.read_text().replace("1", "2", 1))
    code, lines = run_audit()
    assert code == 1
    assert " 0 problems" not in lines[-1]
    assert "not decided: the commit" in lines[-1]


def test_parameters_that_the_commit_does_not_have_are_a_problem(repository: Path) -> None:
    set_commit(git("rev-parse", "HEAD"), {})
    publish("tiny")
    edit_parameters()
    commit_all()
    for path in Path("reports/tiny/results/runs").rglob(
        "*.json"
    ):  # now of a commit that has the parameters of today only
        path.write_text(json.dumps(json.loads(path.read_text()) | {"git_commit": git("rev-parse", "HEAD")}))
    found = audited().problems
    start = f"{MODEL}: made with parameters that are neither those in params/ nor those of its commit: "
    assert any(problem.startswith(start) and "is now 2.5" in problem for problem in found), found
    assert not any("parameters" in problem and "prepare_dataset" in problem for problem in found)


def test_edits_before_their_commit_are_not_decided_without_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = git("rev-parse", "HEAD")
    edited = Path("params/table2.yaml")
    edited.write_text(edited.read_text() + "# new\n")
    set_commit(start, {"params/table2.yaml": git("hash-object", "params/table2.yaml")})
    git("commit", "-qam", "the edit")
    publish("tiny")
    assert audited().problems == audited().undecided == []
    commit_all()
    enter(shallow_clone, tmp_path, monkeypatch)
    result = audited()
    assert result.problems == []
    assert len(result.undecided) == len(result.evidence)
    what = "whether a commit has the edits that it was made from (params/table2.yaml), because"
    assert all(f"{what} the commit that was edited, {start[:12]}," in line for line in result.undecided)


def test_code_that_only_an_absent_commit_has_is_not_decided(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = git("rev-parse", "HEAD")
    set_commit(start, {})
    publish("tiny")
    path = Path("reports/tiny/results/runs") / f"{MODEL}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"code": None}))
    commit_all()
    enter(shallow_clone, tmp_path, monkeypatch)
    result = audited()
    (line,) = result.undecided
    assert line.startswith(f"{MODEL}: not decided: whether the code changed since its commit {start[:12]}, because")
    assert not any("code changed" in problem for problem in result.problems)


def test_other_versions_of_libraries_are_one_line_and_no_problem(project: Path) -> None:
    for path in Path("data/tiny/runs/train_autoencoder").glob("*.json"):
        record = json.loads(path.read_text())
        record["code"]["libraries"]["torch"] = "0.1"
        path.write_text(json.dumps(record))
    publish("tiny")
    shutil.rmtree("data")
    code, lines = run_audit()
    assert code == 0
    (line,) = [line for line in lines if "libraries" in line]
    trainings = sum(job.stage.name == "train_autoencoder" for job in load_grid("tiny"))
    assert re.fullmatch(
        rf"made with other versions of libraries than here: torch 0\.1 \(here [^)]+\) in {trainings} results", line
    )
