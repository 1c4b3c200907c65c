"""Throw-away projects: the real Snakefile, rules and parameters, run by the real commands."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_COPIED = ("Snakefile", "dvc.yaml", "workflow", "params", "constraints.txt", ".dvc/config", ".dvcignore", ".gitignore")


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
    done = subprocess.run(
        command, cwd=project, env=environment(**extra), capture_output=True, text=True, timeout=timeout, check=False
    )
    if check:
        assert done.returncode == 0, f"{' '.join(command)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def copy_project(target: Path) -> Path:
    """Copy what a clone has (not results), make it a git and DVC repository whose active scale is `tiny`."""
    target.mkdir(parents=True)
    for name in _COPIED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, symlinks=True)
        else:
            shutil.copy(source, target / name)
    for link in ("slurm", "profiles"):
        (target / link).symlink_to((ROOT / link).readlink())
    (target / "data").mkdir()
    grid = target / "params" / "grid.yaml"
    grid.write_text(grid.read_text().replace("active: demo", "active: tiny"))
    for command in (
        ("favae", "graph"),
        ("git", "init", "-q", "-b", "main"),
        ("git", "config", "user.email", "test@example.org"),
        ("git", "config", "user.name", "test"),
        ("git", "add", "-A"),
        ("git", "commit", "-qm", "start"),
    ):
        call(target, *command)
    return target


def planned(project: Path, *arguments: str) -> set[str]:
    """Jobs that `snakemake -n` would run, as stage/cell."""
    done = call(project, "snakemake", "-n", *arguments)
    found = re.findall(r"^Job [0-9]+: ([a-z_]+/[a-z0-9_-]+)$", done.stdout + done.stderr, re.MULTILINE)
    return set(found)


def planned_by_dvc(project: Path) -> set[str]:
    """Stages that `dvc repro` would run, as stage/cell: the changed ones and, as Snakemake counts, all that depend on them."""
    lines = call(project, "dvc", "repro", "--dry", "--force-downstream").stdout.splitlines()
    stages = {line.split("'")[1] for line in lines if line.startswith("Running stage")}
    return {stage.replace("@", "/") for stage in stages if "@" in stage}
