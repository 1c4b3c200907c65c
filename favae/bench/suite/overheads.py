"""Overhead of the workflow: planning, status, start of a command."""

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from favae.bench.section import Row, Section, Settings
from favae.config.load import read_yaml
from favae.jobs.grid import load_grid
from favae.runtime import paths

_PROJECT = ("Snakefile", "workflow", "profiles", "params")
_MANY_JOBS = 2000
_REPEATS = 3
FAVAE = (sys.executable, "-c", "from favae.cli.main import entry; entry()")
_SNAKEMAKE = (sys.executable, "-m", "snakemake", "-n", "--quiet", "all", "--config")
_DVC = (sys.executable, "-m", "dvc")


def _rows(settings: Settings) -> Iterator[Row]:
    """Run the commands one after the other. Raises RuntimeError with the message of a command that fails."""
    here, repeats = Path(), 1 if settings.quick else min(settings.rounds, _REPEATS)
    yield _row("favae --help", None, _time(here, repeats, *FAVAE, "--help"), 0.3)
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of_project(Path(folder))
        jobs = len(load_grid("paper").jobs)
        yield _row("snakemake -n, scale paper", jobs, _time(copy, repeats, *_SNAKEMAKE, "scale=paper"), 4.0)
        jobs = write_bulk_grid(copy, _MANY_JOBS)
        yield _row("snakemake -n, many cells", jobs, _time(copy, repeats, *_SNAKEMAKE, "scale=bulk"), 15.0)
    jobs = len(load_grid(None).jobs)
    yield _row("favae status", jobs, _time(here, repeats, *FAVAE, "status"), None)
    yield _row("favae status --fast", jobs, _time(here, repeats, *FAVAE, "status", "--fast"), None)
    yield _row("dvc status", jobs, _time(here, repeats, *_DVC, "status"), None)


def _row(what: str, jobs: int | None, seconds: float, goal: float | None) -> Row:
    return what, "" if jobs is None else str(jobs), f"{seconds:.2f}", "" if goal is None else f"{goal:g}"


def copy_of_project(folder: Path) -> Path:
    """Copy rules and parameters, which planning needs, into an existing folder."""
    for name in _PROJECT:
        if Path(name).is_dir():
            shutil.copytree(name, folder / name)
        else:
            shutil.copy(name, folder / name)
    return folder


def write_bulk_grid(project: Path, wanted: int, *, active: bool = False) -> int:
    """Add a scale `bulk` of about `wanted` jobs to a copy: the paper's baseline again and again, each evaluated.

    Returns the number of jobs. With `active`, plain commands use this scale.
    """
    grid = dict(read_yaml(paths.GRID))
    paper = load_grid("paper")
    fixed = len(paper.cells("prepare_dataset")) + len(paper.cells("compute_reference_statistics"))
    rows = [f"bulk-{number:03d}" for number in range((wanted - fixed) // 2)]
    recipe = dict.fromkeys(rows, read_yaml(paths.params_file("table2"))["baseline"])
    evaluation, model = paper.groups["evaluate_reconstruction"][0], paper.groups["train_autoencoder"][0]
    grid["bulk"] = {
        **{stage: paper.groups[stage] for stage in ("prepare_dataset", "compute_reference_statistics")},
        "train_autoencoder": [model | {"recipe": "bulk-rows", "rows": "all", "name": "{row}"}],
        "evaluate_reconstruction": [evaluation | {"model": "all", "dataset": "own"}],
    }
    if active:
        grid["active"] = "bulk"
    yaml = YAML(typ="safe", pure=True)
    yaml.dump(grid, project / paths.GRID)
    yaml.dump(recipe, project / paths.params_file("bulk-rows"))
    shutil.copy(project / paths.params_file("paper"), project / paths.params_file("bulk"))
    return fixed + 2 * len(rows)


def _time(folder: Path, repeats: int, *command: str) -> float:
    """Median seconds of a command. Exit code 1 of a status command means that something is not current, not a failure."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        seconds.append(time.perf_counter() - start)
        if done.returncode not in ((0, 1) if "status" in command else (0,)):
            raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout).strip()}")
    return statistics.median(seconds)


SECTION = Section(
    30,
    "Overheads of the workflow",
    ("command", "jobs", "seconds", "goal"),
    _rows,
    "Median of three runs. Planning is measured in a copy of the project without results, so that every job is planned; the status "
    "commands use the active scale. Nothing in the project is changed.",
    devices=("cpu",),
)
