"""Throw-away projects: the real Snakefile and rules with separate parameters for the tests, run by the real commands."""

import atexit
import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import forked

from favae.jobs.grid import Grid

ROOT = Path(__file__).resolve().parent.parent.parent
_COPIED = ("Snakefile", "dvc.yaml", "workflow", "constraints.txt", ".dvc/config", ".dvcignore", ".gitignore")
_OWN = Path(__file__).parent / "project/params"
_FACTS = ("published.yaml", "weights.yaml")  # lists of the project that the tests need too


def environment(**extra: str) -> dict[str, str]:
    """Environment in which `snakemake`, `dvc` and `favae` are this interpreter's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"DVC_NO_ANALYTICS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    keep = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "SNAKEMAKE_PROFILE", "DVC_STAGE")}
    return keep | quiet | {"PATH": path, "GIT_CONFIG_GLOBAL": os.devnull} | extra


def call(
    project: Path, *command: str, check: bool = True, timeout: float = 300, **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the project; on failure the whole output is in the assertion."""
    variables = environment(**extra)
    if forked.can_run(command, variables):
        done = forked.run(project, command, variables, timeout)
    else:
        done = subprocess.run(
            command, cwd=project, env=variables, capture_output=True, text=True, timeout=timeout, check=False
        )
    if check:
        assert done.returncode == 0, f"{' '.join(command)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def write_params(project: Path, *, product: bool = False) -> None:
    """Write the parameter files of the tests (scales `tiny`, the active one, and `paper`), or those of the project."""
    if product:
        shutil.copytree(ROOT / "params", project / "params")
        return
    shutil.copytree(_OWN, project / "params")
    for name in _FACTS:
        shutil.copy(ROOT / "params" / name, project / "params")


def copy_project(target: Path, *, product: bool = False) -> Path:
    """A clone of the project without results, with `write_params`: a git and DVC repository, made once per process."""
    return Path(shutil.copytree(_clone(product), target, symlinks=True))


@functools.cache
def _clone(product: bool) -> Path:
    folder = tempfile.mkdtemp(prefix="favae-clone-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = Path(folder) / "project"
    target.mkdir()
    write_params(target, product=product)
    for name in _COPIED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True, ignore=shutil.ignore_patterns("site.yaml"))
        else:
            shutil.copy(source, target / name)
    for link in ("slurm", "profiles"):
        (target / link).symlink_to((ROOT / link).readlink())
    (target / "data").mkdir()
    for command in (
        ("favae", "graph"),
        ("git", "init", "-q", "-b", "main"),
        ("git", "config", "user.email", "test@example.org"),
        ("git", "config", "user.name", "test"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "start"),
        ("favae", "check"),  # leaves the facts about the networks of its active scale, which take seconds to count
    ):
        call(target, *command)
    return target


def jobs(project: Path) -> set[str]:
    """All jobs of the active scale, as stage/cell."""
    with contextlib.chdir(project):
        return {job.name for job in Grid()}


def states(project: Path) -> dict[str, str]:
    """State of each job according to `favae status`, by stage/cell."""
    lines = call(project, "favae", "status", check=False).stdout.splitlines()
    return {line.split()[1]: line.split()[0] for line in lines}


def plan(project: Path, *arguments: str, **extra: str) -> str:
    """Output of `snakemake -n`."""
    done = call(project, "snakemake", "-n", *arguments, **extra)
    return done.stdout + done.stderr


def planned(project: Path, *arguments: str, **extra: str) -> set[str]:
    """Jobs that `snakemake -n` would run, as stage/cell."""
    return set(re.findall(r"^Job [0-9]+: ([a-z_]+/[a-z0-9_-]+)$", plan(project, *arguments, **extra), re.MULTILINE))


def planned_by_dvc(project: Path) -> set[str]:
    """Stages that `dvc repro` would run, as stage/cell: the changed ones and, as in Snakemake, all that depend on them."""
    lines = call(project, "dvc", "repro", "--dry", "--force-downstream").stdout.splitlines()
    stages = {line.split("'")[1] for line in lines if line.startswith("Running stage")}
    return {stage.replace("@", "/") for stage in stages if "@" in stage}
